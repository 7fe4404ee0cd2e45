"""A real server of a directory with real run directories, for a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from patchbay_runner.model.recording import Failure
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.server.app import AppOptions, create_app
from patchbay_runner.server.listening import listen, url_of
from patchbay_runner.server.serving import Server
from tests.unit.results_support import plan, recorder_of

PATIENCE_S = 30.0


@contextmanager
def serving(directory: Path, options: AppOptions | None = None) -> Iterator[httpx.Client]:
    """A client of a server of `directory`."""
    server = Server(create_app(directory, options))
    listener = listen("127.0.0.1", 0)
    url = url_of(listener)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        with httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def eventually(condition: Callable[[], Any]) -> Any:
    """What `condition` gives once that is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.01)
    return found


def make_run(work_dir: Path, *names: str, failure: Failure | None = None, **fields: Any) -> Path:
    """A run that is over, of sims with these names."""
    with RunDirectory.create(work_dir, [plan(name, **fields) for name in names or ("web",)]) as directory:
        for sim in directory.sims:
            sim.start()
            with recorder_of(sim) as recorder:
                recorder.emit("step_started", step=0, action="wait", id="", device="", origin="a.toml:1")
                recorder.emit("step_finished", step=0, id="", status="passed", duration_s=0.5)
                recorder.emit("step_started", step=1, action="wait", id="", device="", origin="a.toml:2")
                if failure is None:
                    recorder.emit("step_finished", step=1, id="", status="passed", duration_s=0.25)
                else:
                    recorder.emit("step_failed", step=1, phase="step", message=failure.message, output=())
            sim.end(failure)
    return directory.path


def make_record(directory: Path, *, status: str = "stopped", label: str | None = None) -> Path:
    """A lab record without a manifest, as test suites write them."""
    directory.mkdir(parents=True)
    event = {"opid": 0, "timestamp": "2026-03-13T12:00:00.000000Z", "kind": "lab_created"}
    (directory / "events.jsonl").write_bytes(msgspec.json.encode(event) + b"\n")
    state = {"opid": 0, "status": status, "label": label, "updated_at": "2026-03-13T12:00:09Z"}
    (directory / "state.json").write_bytes(msgspec.json.encode(state))
    return directory


def run_path(name: str, *rest: str) -> str:
    """Below a run."""
    return "/".join(["/api/runs", quote(name, safe=""), *rest])


def sim_path(run: Path, sim: str, *rest: str) -> str:
    """Below a sim of a run directory."""
    return run_path(run.name, "sims", sim, *rest)


class Stream:
    """An open event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""
        self.seen: dict[str, Any] = {}

    def next(self) -> tuple[str, Any]:
        """The next event and its data."""
        kind, data = "", ""
        for line in self._lines:
            field, _, value = line.partition(": ")
            if field == "event":
                kind = value
            elif field == "data":
                data = value
            elif field == "id":
                self.last_id = value
            elif not line and kind:
                self.seen[kind] = msgspec.json.decode(data)
                return kind, self.seen[kind]
        raise EOFError

    def until(self, wanted: str, fits: Callable[[Any], bool] = lambda _data: True) -> Any:
        """The data of the next event of this kind that fits."""
        while True:
            kind, data = self.next()
            if kind == wanted and fits(data):
                return data

    def until_seen(self, fits: Callable[[dict[str, Any]], bool]) -> None:
        """Goes on until the last data of each kind fit, in whatever order they come."""
        while not fits(self.seen):
            self.next()


@contextmanager
def streaming(client: httpx.Client, last_event_id: str = "", **parameters: Any) -> Iterator[Stream]:
    """A stream that is ready."""
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    with client.stream("GET", "/api/stream", params=parameters, headers=headers) as response:
        assert response.status_code == 200, response.read()
        stream = Stream(response)
        assert stream.next()[0] == "ready"
        yield stream
