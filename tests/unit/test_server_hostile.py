"""Run directories that somebody made up: whatever their documents hold, the server answers, and for that run alone."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.unit.results_support import step_failure
from tests.unit.server_support import make_run, run_path, serving, streaming

GARBAGE = {
    "empty": b"",
    "binary": b"\x80\xff\0",
    "list": b"[1, 2]",
    "number": b"1e999",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "surrogate": b'{"status": "\\ud800", "run": "\\udfff"}',
    "huge number": b'{"pr": ' + b"9" * 5000 + b', "status": "running", "opid": 1e400}',
    "wrong kinds": b'{"status": [], "simulations": 3, "started_at": {}, "steps": [[]], "logs": [1], "project": 7}',
    "lines": b'{"opid": "x"}\n\r\n\0\n{"opid": -5, "kind": "step_started", "step": "y"}\n' * 50,
}
DOCUMENTS = (
    "manifest.json",
    "run.json",
    "web/sim.json",
    "web/plan.json",
    "web/state.json",
    "web/results.json",
    "web/events.jsonl",
    "web/metrics.jsonl",
)


@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_harms_nobody(tmp_path: Path, content: bytes) -> None:
    good = make_run(tmp_path).name
    for number, document in enumerate(DOCUMENTS):
        run = make_run(tmp_path, failure=step_failure()).rename(tmp_path / f"bad-{number}")
        (run / document).write_bytes(content)
    lab = tmp_path / "lab"
    lab.mkdir()
    for name in ("events.jsonl", "state.json"):
        (lab / name).write_bytes(content)
    with serving(tmp_path) as client:
        listed = {run["name"]: run for run in client.get("/api/runs").json()["runs"]}
        assert len(listed) == 2 + len(DOCUMENTS)
        assert listed[good]["status"] == "ok"
        assert listed["bad-0"]["status"] == "unreadable"
        assert listed["bad-0"]["problem"]
        for name in listed:
            assert client.get(run_path(name)).status_code == 200
            assert client.get(run_path(name, "results")).status_code in (200, 500)
            for rest in ("", "/events", "/metrics", "/logs", "/files", "/state", "/results"):
                reply = client.get(run_path(name, "sims", "lab" if name == "lab" else "web") + rest)
                is_document = rest in ("/state", "/results")
                assert reply.status_code in ((200, 404, 500) if is_document else (200, 404)), (name, rest, reply.text)
                assert reply.headers["content-type"] == "application/json"
        with streaming(client, run="bad-6", sim="web") as stream:
            stream.until("sim")


@pytest.mark.parametrize("sim_dir", ["../../secret", "/etc", "..", ".", "", "a/b", ".hidden", "x\0y", "link"])
def test_a_manifest_leads_nowhere_else(tmp_path: Path, sim_dir: str) -> None:
    secret = make_run(tmp_path / "other", "secret", failure=step_failure(message="do-not-serve-me"))
    (secret / "secret").rename(tmp_path / "secret")
    work = tmp_path / "work"
    run = make_run(work, failure=step_failure())
    (run / "link").symlink_to(tmp_path / "secret")
    manifest: dict[str, Any] = msgspec.json.decode((run / "manifest.json").read_bytes())
    manifest["simulations"][0]["sim_dir"] = sim_dir
    (run / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    with serving(work) as client:
        detail = client.get(run_path(run.name))
        assert detail.json()["simulations"][0]["phase"] is None
        assert client.get(run_path(run.name, "results")).status_code in (200, 403, 404)
        for name in (sim_dir.replace("/", "%2F").replace("\0", "%00"), "link"):
            for rest in ("", "/events", "/logs", "/files/sim.json"):
                reply = client.get(run_path(run.name, "sims", name) + rest)
                assert b"do-not-serve-me" not in reply.content


def test_a_file_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    run = make_run(tmp_path)
    (run / "web" / "a.log").write_text("secret")
    (run / "web" / "a.log").chmod(0)
    with serving(tmp_path) as client:
        assert client.get(run_path(run.name, "sims", "web", "logs")).json() == {"logs": []}
        assert client.get(run_path(run.name, "sims", "web", "logs", "a.log")).status_code == 403
