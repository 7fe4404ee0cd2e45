"""One sim's directory, written by the parent: events as they arrive, documents as they change and at the end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.results import documents, messages, reports
from patchbay_runner.results.documents import Status
from patchbay_runner.results.files import Owner, append, make_directories, open_append, write_atomically
from patchbay_runner.results.planned import plan_document
from patchbay_runner.results.sim_state import SimState

# While a sim runs its documents are rewritten at most this often, and take at most a tenth of the time.
WRITE_INTERVAL_S = 1.0
_INTERVALS_PER_WRITE = 10


class SimRecord:
    """A sim's state and the directory that it is written to."""

    def __init__(self, plan: Plan, directory: Path, owner: Owner | None = None) -> None:
        self.directory = directory
        self.state = SimState(plan, directory.name)
        self._owner = owner
        self._decoder = msgspec.json.Decoder(messages.AnyMessage)
        self._torn: list[bytes] = []
        self._opid = 0
        self._events_fd = self._metrics_fd = -1
        self._is_changed = False
        self._next_write_s = 0.0

    def start(self) -> None:
        """Makes the directory; from here on the sim is running."""
        make_directories(self.directory, self._owner)
        self._events_fd = open_append(self._events_path, self._owner)
        self.state.start()
        self.note("sim_started", sim=self.state.plan.name)
        self._write("plan.json", documents.encode(plan_document(self.state.plan)))
        self.write()

    def feed(self, chunk: bytes) -> list[messages.Event]:
        """Takes a piece of the message stream, cut anywhere; returns the events in it, which are in the file by then.

        Raises msgspec.DecodeError for a line that is no message.
        """
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = b"".join([*self._torn, lines[0]])
            self._torn.clear()
        self._torn.append(rest)
        events = [event for line in lines if (event := self.state.take(self._decoder.decode(line)))]
        self._append_events(events)
        self._append_metrics()
        self._is_changed = self._is_changed or bool(lines)
        return events

    def note(self, kind: str, **fields: Any) -> messages.Event:
        """Adds an event of the parent's own, and returns it."""
        event = messages.Event(messages.event_time(), kind, fields)
        self._append_events([event])
        return event

    def begin_again(self, kind: str, **fields: Any) -> messages.Event:
        """What ran is lost, as the event says: the sim runs anew. Events stay, everything else is as at the start."""
        event = self.note(kind, **fields)
        self.state = SimState(self.state.plan, self.directory.name)
        self.state.start()
        self.state.is_displaced = True
        self._torn.clear()
        self.write()
        return event

    def end(self, failure: Failure | None) -> None:
        """The sandbox is gone. `failure` counts when the sandbox gave no verdict of its own."""
        self.state.end(failure)
        self.note("sim_finished", sim=self.state.plan.name, status=self.state.status.value)
        os.close(self._events_fd)
        if self._metrics_fd >= 0:
            os.close(self._metrics_fd)
        self.state.network_is_new = True
        self.write()
        report = reports.sim_markdown(self.state.sim_document(), self.state.results_document())
        self._write("results.md", report.encode())
        if self.state.failure and self.state.failure.traceback:
            self._write("traceback.txt", self.state.failure.traceback.encode())

    def write(self) -> None:
        """Writes sim.json and results.json, and state.json when the network has changed."""
        started = time.monotonic()
        if self.state.network is not None and self.state.network_is_new:
            head = self.state.network_head(self._opid - 1)
            self._write("state.json", documents.encode_state(head, self.state.network))
            self.state.network_is_new = False
        self._write("sim.json", documents.encode(self.state.sim_document()))
        self._write("results.json", documents.encode(self.state.results_document()))
        self._is_changed = False
        now = time.monotonic()
        self._next_write_s = now + max(WRITE_INTERVAL_S, _INTERVALS_PER_WRITE * (now - started))

    def write_if_due(self) -> None:
        """Writes what changed, when the last time is long enough ago."""
        if self._is_changed and self.state.status is Status.RUNNING and time.monotonic() >= self._next_write_s:
            self.write()

    @property
    def _events_path(self) -> Path:
        return self.directory / "events.jsonl"

    def _append_events(self, events: list[messages.Event]) -> None:
        lines = []
        for event in events:
            head = {"opid": self._opid, "timestamp": event.timestamp, "kind": event.kind}
            lines.append(msgspec.json.encode({**head, **event.fields, **head}) + b"\n")
            self._opid += 1
        if lines:
            append(self._events_fd, b"".join(lines), self._events_path)

    def _append_metrics(self) -> None:
        lines = b"".join(msgspec.json.encode(each) + b"\n" for each in self.state.metrics)
        self.state.metrics.clear()
        if lines:
            path = self.directory / "metrics.jsonl"
            if self._metrics_fd < 0:
                self._metrics_fd = open_append(path, self._owner)
            append(self._metrics_fd, lines, path)

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.directory / name, content, self._owner)
