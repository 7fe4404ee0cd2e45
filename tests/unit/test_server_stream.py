"""What a stream tells while runs come, go on and go."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.sim import SimRecord
from patchbay_runner.server import listfeed, watching
from patchbay_runner.server.app import AppOptions
from patchbay_runner.server.statepatch import difference
from tests.unit.results_support import plan, recorder_of
from tests.unit.server_support import make_record, make_run, run_path, serving, sim_path, streaming


@pytest.fixture(params=[True, False], ids=["inotify", "polling"])
def client(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Of the directory `work`, with nothing in it."""
    monkeypatch.setattr(watching, "_POLL_S", 0.05)
    (tmp_path / "work").mkdir()
    with serving(tmp_path / "work", AppOptions(may_use_inotify=request.param)) as client:
        yield client


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@contextmanager
def begun(work: Path) -> Iterator[tuple[RunDirectory, SimRecord]]:
    with RunDirectory.create(work, [plan("web")]) as directory:
        directory.sims[0].start()
        yield directory, directory.sims[0]
        if directory.sims[0].state.runtime_s is None:
            directory.sims[0].end(None)


def test_runs_come_and_go(client: httpx.Client, work: Path) -> None:
    with streaming(client, runs="true") as stream:
        with begun(work) as (directory, _):
            name = directory.path.name
            found = stream.until("runs", lambda data: data["changed"])["changed"]
            assert [(run["name"], run["status"]) for run in found] == [(name, "running")]
        over = stream.until("runs", lambda data: data["changed"] and data["changed"][0]["status"] == "ok")
        assert over["changed"][0]["sims"]["ok"] == 1
        assert client.get("/api/runs").json()["runs"][0]["status"] == "ok"
        make_record(work / "deep" / "deeper" / "lab")
        assert stream.until("runs", lambda data: data["changed"])["changed"][0]["name"] == "deep/deeper/lab"
        shutil.rmtree(directory.path)
        assert stream.until("runs", lambda data: data["removed"])["removed"] == [name]
        assert client.get(run_path(name)).status_code == 404


def statuses(seen: dict[str, Any], kind: str) -> list[str]:
    return [each["status"] for each in seen.get(kind, [])]


def test_a_sim_is_followed_from_its_start_to_its_end(client: httpx.Client, work: Path) -> None:
    with RunDirectory.create(work, [plan("web")]) as directory:
        directory.write()
        name = directory.path.name
        with streaming(client, run=name, sim="web") as stream:
            stream.until_seen(lambda seen: "run" in seen and statuses(seen, "sims") == ["pending"])
            sim = directory.sims[0]
            sim.start()
            directory.write()
            begun = ["pending", "pending"]
            stream.until_seen(lambda seen: statuses(seen, "sims") == ["running"] and statuses(seen, "steps") == begun)
            with recorder_of(sim) as recorder:
                recorder.emit("step_started", step=0, action="wait", id="", device="", origin="")
            stream.until_seen(lambda seen: statuses(seen, "steps") == ["running"])
            with recorder_of(sim) as recorder:
                recorder.emit("step_finished", step=0, id="", status="passed", duration_s=0.5)
                recorder.finished(None)
            sim.end(None)
            directory.write()
            stream.until_seen(lambda seen: statuses(seen, "sims") == ["ok"] and "skipped" in statuses(seen, "steps"))
            assert stream.seen["sim"]["status"] == "ok"
        events = client.get(sim_path(directory.path, "web", "events")).json()["items"]
    assert [event["kind"] for event in events] == ["sim_started", "step_started", "step_finished", "sim_finished"]


def test_logs_of_a_lab_are_told_as_they_come(client: httpx.Client, work: Path) -> None:
    record = make_record(work / "lab", status="running")
    line = b'{"level":"INFO","fields":{"message":"hello"},"target":"app"}\n'
    (record / "device.d.tracing.jsonl").write_bytes(line)
    with streaming(client, run="lab", sim="lab") as stream:
        first = stream.until("logs")
        assert [(log["path"], log["node"]) for log in first] == [("device.d.tracing.jsonl", "d")]
        (record / "lab.tracing.jsonl").write_bytes(line)
        assert [log["path"] for log in stream.until("logs")] == ["lab.tracing.jsonl"]
    (record / "device.d.events.jsonl").write_bytes(b"{}\n")
    listed = client.get(run_path("lab", "sims", "lab", "logs")).json()["logs"]
    names = ["lab.tracing.jsonl", "device.d.tracing.jsonl", "device.d.events.jsonl"]
    assert [log["path"] for log in listed] == names


def opids(stream: Any, up_to: int) -> list[int]:
    found: list[int] = []
    while not found or found[-1] < up_to:
        found += [event["opid"] for event in stream.until("events")]
    return found


def test_events_go_on_where_they_were(client: httpx.Client, work: Path) -> None:
    with begun(work) as (directory, sim):
        what = {"run": directory.path.name, "sim": "web"}
        with recorder_of(sim) as recorder:
            for number in range(1, 5):
                recorder.emit("note", number=number)
        with streaming(client, **what) as stream:
            assert opids(stream, 4) == [0, 1, 2, 3, 4]
            with recorder_of(sim) as recorder:
                recorder.emit("note", number=5)
            assert opids(stream, 5) == [5]
            cursor = stream.last_id
        with recorder_of(sim) as recorder:
            recorder.emit("note", number=6)
        with streaming(client, last_event_id=cursor, **what) as stream:
            assert opids(stream, 6) == [6]
        with streaming(client, after=3, **what) as stream:
            assert opids(stream, 6) == [4, 5, 6]
        with streaming(client, last_event_id="nonsense", after=-1, **what) as stream:
            assert opids(stream, 6) == [0, 1, 2, 3, 4, 5, 6]


def test_a_long_history_comes_in_pieces_and_whole(work: Path, tmp_path: Path) -> None:
    run = make_run(work)
    line = b'{"opid":%d,"timestamp":"2026-03-13T12:00:00.000000Z","kind":"note","text":"' + b"x" * 200 + b'"}\n'
    (run / "web" / "events.jsonl").write_bytes(b"".join(line % number for number in range(5000)))
    with serving(work) as client, streaming(client, run=run.name, sim="web") as stream:
        assert opids(stream, 4999) == list(range(5000))


def test_lines_that_are_torn_or_no_json_are_left_out(client: httpx.Client, work: Path) -> None:
    with begun(work) as (directory, sim), (sim.directory / "events.jsonl").open("ab", buffering=0) as events:
        events.write(b'not json\n{"opid": 1,\r "kind": "a"}\n[1]\n{"opid": 2, "kind"')
        with streaming(client, run=directory.path.name, sim="web") as stream:
            assert opids(stream, 1) == [0, 1]
            events.write(b': "b"}\n')
            assert opids(stream, 2) == [2]


def test_the_network_is_told_whole_and_then_by_differences(client: httpx.Client, work: Path) -> None:
    states: list[dict[str, Any]] = [
        {"routers": {"home": {"nat": "home", "condition": None}}, "devices": {}},
        {"routers": {"home": {"nat": "corporate", "condition": {"loss_pct": 1}}}, "devices": {"a": {"up": True}}},
        {"routers": {}, "devices": {"a": {"up": False}}},
    ]
    with begun(work) as (directory, sim):

        def become(state: dict[str, Any]) -> None:
            sim.state.network, sim.state.network_is_new = state, True
            sim.write()

        become(states[0])
        with streaming(client, run=directory.path.name, sim="web") as stream:
            now = stream.until("state")
            for state in states[1:]:
                become(state)
                now = merge(now, stream.until("state_patch"))
                assert {name: now[name] for name in ("routers", "devices")} == state


def merge(target: Any, patch: Any) -> Any:
    """As RFC 7396 has it."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 2, "c": 2}}),
        ({"a": 1}, {"a": {"b": [1, {"c": 2}]}}),
        ({"a": {"b": 1}}, {"a": [1]}),
        ({"a": [1, 2]}, {"a": [1]}),
    ],
)
def test_a_difference_leads_from_one_to_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert merge(old, difference(old, new)) == new
    assert difference(new, new) == {}


def test_a_log_is_followed_and_its_truncation_told(client: httpx.Client, work: Path) -> None:
    with begun(work) as (directory, sim):
        log = sim.directory / "nodes" / "c" / "app.log"
        log.parent.mkdir(parents=True)
        log.write_bytes(b"old\nhalf")
        what = {"run": directory.path.name, "sim": "web", "log": "nodes/c/app.log"}
        with streaming(client, **what) as stream, log.open("ab", buffering=0) as file:
            file.write(b" way\nnew\n")
            window = stream.until("log")
            assert (window["lines"], window["offsets"]) == (["half way", "new"], [4, 13])
            cursor = stream.last_id
            file.write(b"more\n")
            assert stream.until("log")["lines"] == ["more"]
            os.truncate(log, 0)
            assert stream.until("log_truncated") == {"size": 0}
            file.write(b"anew\n")
            assert stream.until("log")["lines"] == ["anew"]
        log.write_bytes(b"old\nhalf way\nnew\nmore\n")
        with streaming(client, last_event_id=cursor, **what) as stream:
            assert stream.until("log")["lines"] == ["more"]
        with streaming(client, log_after=0, **what) as stream:
            assert stream.until("log")["lines"] == ["old", "half way", "new", "more"]


def test_logs_and_metrics_are_told(client: httpx.Client, work: Path) -> None:
    with begun(work) as (directory, sim), streaming(client, run=directory.path.name, sim="web") as stream:
        with recorder_of(sim) as recorder:
            os.close(recorder.open_log("c", "fetch", "stdout"))
        sim.write()
        assert [log["step"] for log in stream.until("logs")] == ["fetch"]
        (sim.directory / "metrics.jsonl").write_bytes(b'{"interval_s": 1}\n')
        assert stream.until("metrics") == [{"interval_s": 1}]
        sim.write()
        assert stream.until("results") == {}


def test_a_run_that_is_deleted_ends_its_stream(client: httpx.Client, work: Path) -> None:
    run = make_run(work)
    with streaming(client, run=run.name, sim="web") as stream:
        stream.until("sims")
        shutil.rmtree(run)
        assert stream.until("gone") == {}
        with pytest.raises(EOFError):
            stream.next()
    assert client.get("/api/stream", params={"run": run.name}).status_code == 404


def test_a_run_that_is_killed_is_told(client: httpx.Client, work: Path) -> None:
    directory = RunDirectory.create(work, [plan("web")])
    try:
        with streaming(client, run=directory.path.name) as stream:
            assert stream.until("run")["status"] == "running"
            os.close(directory._lock_fd)  # as the kernel does
            assert stream.until("run")["status"] == "interrupted"
    finally:
        directory._lock_fd = os.open("/dev/null", os.O_RDONLY)
        directory.close()


def test_a_served_directory_may_go_and_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listfeed, "_ABSENT_S", 0.05)
    work = tmp_path / "work"
    make_run(work)
    with serving(work) as client, streaming(client, runs="true") as stream:
        shutil.rmtree(work)
        assert len(stream.until("runs", lambda data: data["removed"])["removed"]) == 1
        assert client.get("/api/runs").json()["runs"] == []
        run = make_run(work)
        assert stream.until("runs", lambda data: data["changed"])["changed"][0]["name"] == run.name


def test_who_takes_nothing_holds_nobody_up(work: Path) -> None:
    """Its connection fills up, and then nothing is kept for it."""
    work.mkdir()
    with serving(work) as client, begun(work) as (directory, sim), ExitStack() as stack:
        idle = stack.enter_context(socket.create_connection((client.base_url.host, client.base_url.port or 0)))
        request = f"GET /api/stream?run={directory.path.name}&sim=web HTTP/1.1\r\nHost: localhost\r\n\r\n"
        idle.sendall(request.encode())
        with streaming(client, run=directory.path.name, sim="web") as stream:
            text = "x" * 1000
            for _ in range(20):
                with recorder_of(sim) as recorder:
                    for number in range(100):
                        recorder.emit("note", number=number, text=text)
            assert opids(stream, 2000) == list(range(2001))


def test_streams_end_with_the_server(work: Path) -> None:
    run = make_run(work)
    with httpx.Client(timeout=20, trust_env=False) as other:
        with serving(work) as client:
            request = other.build_request("GET", client.base_url.join(f"/api/stream?runs=true&run={run.name}"))
            response = other.send(request, stream=True)
            lines = response.iter_lines()
            assert next(lines) == "event: ready"
        assert list(lines)  # to the end: the connection was not broken off
