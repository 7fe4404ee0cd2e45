import os
from pathlib import Path

import pytest

from patchbay_runner.model.recording import HISTORY_LIMIT, CaptureValue, StepResult
from patchbay_runner.results import outbox
from patchbay_runner.results.documents import Status
from patchbay_runner.results.recorder import SandboxRecorder
from patchbay_runner.results.sim import SimRecord
from tests.unit.results_support import plan, read_events, read_json, recorder_of, step_failure


@pytest.fixture
def sim(tmp_path: Path) -> SimRecord:
    record = SimRecord(plan(), tmp_path / "relay")
    record.start()
    return record


def test_events_are_numbered_in_the_file_and_keep_their_fields(sim: SimRecord) -> None:
    with recorder_of(sim) as recorder:
        recorder.emit("router_added", name="home", nat="home")
        recorder.emit("odd", timestamp="mine", opid=77)
        recorder.finished(None)
    sim.end(None)
    events = read_events(sim.directory)
    assert [event["opid"] for event in events] == [0, 1, 2, 3]
    assert [event["kind"] for event in events] == ["sim_started", "router_added", "odd", "sim_finished"]
    assert events[1]["name"] == "home"
    assert events[2]["timestamp"].endswith("Z")
    assert events[3]["status"] == "ok"


def test_logs_are_appended_and_listed(sim: SimRecord) -> None:
    with recorder_of(sim) as recorder:
        for text in (b"one\n", b"two\n"):
            descriptor = recorder.open_log("client", "fetcher", "stderr")
            os.write(descriptor, text)
            os.close(descriptor)
        os.close(recorder.open_node_log("client", "stderr"))
        path = recorder.log_path("client", "fetcher", "stderr")
        recorder.finished(None)
    sim.end(None)
    assert path == sim.directory / "nodes" / "client" / "fetcher.stderr.log"
    assert path.read_bytes() == b"one\ntwo\n"
    assert read_json(sim.directory / "sim.json")["logs"] == [
        {"node": "client", "kind": "stderr", "path": "nodes/client/fetcher.stderr.log", "step": "fetcher"},
        {"node": "client", "kind": "stderr", "path": "nodes/client/stderr.log", "step": None},
    ]


def test_names_that_look_alike_when_made_safe_get_files_of_their_own(sim: SimRecord) -> None:
    with recorder_of(sim) as recorder:
        paths = {
            recorder.log_path("client", step, stream) for step in ("a/b", "a b") for stream in ("stdout", "stderr")
        }
        contents = {recorder.write_file(f"files/{step}/content", b"") for step in ("a_b", "a b")}
    assert sorted(path.name for path in paths) == [
        "a_b-2.stderr.log",
        "a_b-2.stdout.log",
        "a_b.stderr.log",
        "a_b.stdout.log",
    ]
    assert len(contents) == 2


@pytest.mark.parametrize("relative", ["../x", "a/../../x", "/etc/x", ""])
def test_files_stay_below_the_sims_directory(sim: SimRecord, relative: str) -> None:
    with recorder_of(sim) as recorder:
        recorder.emit("anything")
        with pytest.raises(ValueError, match="does not stay below"):
            recorder.write_file(relative, b"")


def test_captures_travel_as_differences_and_add_up(sim: SimRecord) -> None:
    with recorder_of(sim) as recorder:
        recorder.captures({"x.size": CaptureValue("2", ("1", "2"), 2)})
        recorder.captures({"x.size": CaptureValue("4", ("1", "2", "3", "4"), 4), "x.rtt": CaptureValue("9", ("9",), 1)})
        recorder.finished(None)
    sim.end(None)
    assert read_json(sim.directory / "results.json")["captures"] == {
        "x.size": {"value": "4", "history": ["1", "2", "3", "4"]},
        "x.rtt": {"value": "9", "history": ["9"]},
    }


def test_a_cut_history_says_so(sim: SimRecord) -> None:
    newest = tuple(map(str, range(5, HISTORY_LIMIT + 5)))
    with recorder_of(sim) as recorder:
        recorder.captures({"x.n": CaptureValue("3", ("0", "1", "2", "3"), 4)})
        recorder.captures({"x.n": CaptureValue(newest[-1], newest, HISTORY_LIMIT + 5)})
        recorder.finished(None)
    sim.end(None)
    capture = read_json(sim.directory / "results.json")["captures"]["x.n"]
    assert (capture["count"], capture["cut"]) == (HISTORY_LIMIT + 5, True)
    assert capture["history"] == list(newest)


def test_the_first_verdict_counts_and_is_the_last_word(sim: SimRecord) -> None:
    with recorder_of(sim) as recorder:
        recorder.results([StepResult(id="fetcher", duration="2.0", down_bytes="1000")])
        recorder.finished(step_failure())
        recorder.finished(None)
    sim.end(None)
    assert sim.state.status is Status.ERROR
    assert read_json(sim.directory / "results.json")["steps"][0]["down_bytes"] == "1000"
    assert read_json(sim.directory / "sim.json")["error"]["step"]["origin"] == "sims/relay.toml:7"


def test_a_parent_that_does_not_read_costs_events_and_never_the_verdict(
    sim: SimRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BACKLOG_BYTES", 1000)
    reader, writer = os.pipe()
    recorder = SandboxRecorder(sim.directory, writer)
    for number in range(5000):
        recorder.emit("noise", number=number)
        recorder.captures({"x.n": CaptureValue(str(number), (str(number),), number + 1)})
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        recorder.finished(None)
        os._exit(0)
    os.close(writer)
    while chunk := os.read(reader, 1 << 16):
        sim.feed(chunk)
    os.close(reader)
    os.waitpid(pid, 0)
    sim.end(None)
    events = read_events(sim.directory)
    lost = sum(event["events"] for event in events if event["kind"] == "events_dropped")
    assert lost > 0
    assert sum(event["kind"] == "noise" for event in events) + lost == 5000
    assert sim.state.status is Status.OK
    assert read_json(sim.directory / "results.json")["captures"]["x.n"]["value"] == "4999"
