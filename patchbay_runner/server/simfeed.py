"""One sim, followed: its documents, steps and logs as they change, and the ends of the files that only grow."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import msgspec

from patchbay_runner.results.node_logs import SUFFIXES
from patchbay_runner.results.record import MANIFEST_NAME
from patchbay_runner.server.catalog import Catalog
from patchbay_runner.server.feeds import Feed
from patchbay_runner.server.jsonlines import PIECE_BYTES, read_piece, whole_end
from patchbay_runner.server.loglist import list_logs
from patchbay_runner.server.places import SimPlace, find_sim
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Stamp, file_at, read_document, stamp_at
from patchbay_runner.server.runs import EVENTS_NAME, STATE_NAME
from patchbay_runner.server.shapes import Log, StepLine
from patchbay_runner.server.statepatch import difference
from patchbay_runner.server.steps import Steps
from patchbay_runner.server.watching import Watch, Watcher

METRICS_NAME = "metrics.jsonl"
_NAMES = ("", "sim.json", "plan.json", "results.json", STATE_NAME, EVENTS_NAME, METRICS_NAME)


class Growth(NamedTuple):
    """A file of lines up to `end`; `last` is the JSON list that was added last, from `last_start` to `last_end`."""

    name: str
    end: int = 0
    last_start: int = 0
    last_end: int = 0
    last: bytes = b"[]"


class SimNow(NamedTuple):
    """A sim at one moment. `state_patch` leads to `state` from the one before it."""

    place: SimPlace
    events: Growth = Growth(EVENTS_NAME)
    metrics: Growth = Growth(METRICS_NAME)
    sim: bytes = b""
    state: bytes = b""
    state_before: bytes = b""
    state_patch: bytes = b""
    results: Stamp | None = None
    steps: tuple[StepLine, ...] = ()
    logs: tuple[Log, ...] = ()


class SimFeed(Feed):
    """`now` is replaced as a whole: those who follow compare it with what they have sent."""

    def __init__(self, catalog: Catalog, watcher: Watcher, run: str, name: str) -> None:
        super().__init__()
        self.now: SimNow | None = None
        self._run, self._name = run, name
        self._steps = Steps(None)
        self._has_plan = False
        # Nobody tells of the logs of a lab's record, as sim.json does of a sim's.
        self._is_record = False
        self._state: dict[str, Any] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._catalog, self._watcher = catalog, watcher
        self._watch: Watch | None = None
        self._run_watch: Watch | None = None

    def read(self) -> bool:
        """Looks at everything that has another stamp than before."""
        if self._run_watch is None:
            with self._catalog.root.directory(self._catalog.get(self._run).parts) as directory:
                self._run_watch = self._watcher.watch(directory, self._run_happened)
        place = find_sim(self._catalog, self._run, self._name)
        self._is_record = self._catalog.get(self._run).is_record
        now = self.now or SimNow(place)
        try:
            descriptor = self._catalog.root.open_directory(place.parts)
        except Refusal:
            if self._watch is not None:
                raise
            new = now._replace(place=place)  # it has not begun
        else:
            try:
                self._watch = self._watch or self._watcher.watch(descriptor, self._happened)
                new = self._read(descriptor, now, place)
            finally:
                os.close(descriptor)
        is_changed, self.now = new != self.now, new
        return is_changed

    def close(self) -> None:
        """Lets go of the watches."""
        for watch in (self._watch, self._run_watch):
            if watch:
                watch.close()

    def _read(self, directory: int, now: SimNow, place: SimPlace) -> SimNow:
        sim, logs = now.sim, now.logs
        is_told = self._is_newer(directory, "sim.json")
        if is_told:
            sim = _as_json(read_document(directory, "sim.json"))
        if is_told or self._is_record:
            logs = list_logs(directory)
        now = self._with_state(directory, now) if self._is_newer(directory, STATE_NAME) else now
        is_further = self._read_steps(directory) or place.line.status != now.place.line.status
        return now._replace(
            place=place,
            events=_grown(directory, now.events),
            metrics=_grown(directory, now.metrics),
            sim=sim,
            results=stamp_at(directory, "results.json"),
            steps=self._steps.listed(place.line.status) if is_further else now.steps,
            logs=logs,
        )

    def _with_state(self, directory: int, now: SimNow) -> SimNow:
        old, self._state = self._state, _decoded(read_document(directory, STATE_NAME))
        patch = msgspec.json.encode(difference(old, self._state)) if old else b""
        return now._replace(state=msgspec.json.encode(self._state), state_before=now.state, state_patch=patch)

    def _read_steps(self, directory: int) -> bool:
        """Whether a step is further than before."""
        before = self._steps.version
        if not self._has_plan and (plan := read_document(directory, "plan.json")):
            self._has_plan, self._steps, before = True, Steps(plan), 0
        with file_at(directory, EVENTS_NAME) as descriptor:
            if descriptor is not None:
                self._steps.read(descriptor)
        return self._steps.version != before

    def _is_newer(self, directory: int, name: str) -> bool:
        stamp = stamp_at(directory, name)
        before, self._stamps[name] = self._stamps.get(name), stamp
        return stamp not in (None, before)

    def _happened(self, name: str) -> None:
        if name in _NAMES or (self._is_record and name.endswith(SUFFIXES) and not self._is_known(name)):
            self.touch()

    def _is_known(self, log: str) -> bool:
        return self.now is not None and any(each.path == log for each in self.now.logs)

    def _run_happened(self, name: str) -> None:
        if name in ("", MANIFEST_NAME, self._name):
            self.touch()


def _grown(directory: int, before: Growth) -> Growth:
    with file_at(directory, before.name) as descriptor:
        end = whole_end(descriptor) if descriptor is not None else 0
        if descriptor is None or end == before.end:
            return before
        if before.end == 0 or end < before.end:
            return Growth(before.name, end)  # what is there already is read by who wants it
        # It may have grown since: what is told ends where this look ends.
        piece = read_piece(descriptor, before.end, min(PIECE_BYTES, end - before.end))
        return Growth(before.name, end, piece.start, piece.end, piece.body)


def _decoded(document: bytes | None) -> dict[str, Any]:
    try:
        return msgspec.json.decode(document, type=dict[str, Any]) if document else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _as_json(document: bytes | None) -> bytes:
    """On one line, as events need it."""
    return msgspec.json.encode(_decoded(document))
