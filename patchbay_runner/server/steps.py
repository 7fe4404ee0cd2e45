"""How far the steps of a sim are: its plan, and what its events say of each."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from patchbay_runner.results.documents import PlanDocument
from patchbay_runner.server.rooted import read_at
from patchbay_runner.server.shapes import StepLine

_SCAN_BYTES = 1 << 20


class _StepEvent(msgspec.Struct, frozen=True):
    kind: str
    step: int
    timestamp: str = ""
    on_failure: bool = False
    action: str = ""
    id: str | None = None
    device: str | None = None
    origin: str | None = None
    duration_s: float | None = None
    message: str | None = None


_event = msgspec.json.Decoder(_StepEvent)
Key = tuple[bool, int]


class Steps:
    """The steps by whether they are of `on_failure` and their number. `version` grows with every change of one."""

    def __init__(self, plan: bytes | None) -> None:
        self.lines: dict[Key, StepLine] = {}
        self.version = 0
        self.place = 0
        self._torn = b""
        for step in _planned(plan):
            self._put((step.on_failure, step.index), step)

    def read(self, descriptor: int) -> None:
        """Goes through the events from where it was left."""
        while data := read_at(descriptor, self.place, _SCAN_BYTES):
            self.place += len(data)
            self.feed(data)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes of events.jsonl, cut anywhere."""
        *lines, self._torn = (self._torn + data).split(b"\n")
        for line in lines:
            if b'"step_' in line:
                self._take(line)

    def listed(self, sim_status: str | None) -> tuple[StepLine, ...]:
        """All in order, as they stand in a sim of that status."""
        return tuple(_at_end(self.lines[key], sim_status) for key in sorted(self.lines))

    def _take(self, line: bytes) -> None:
        try:
            event = _event.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        key = (event.on_failure, event.step)
        step = self.lines.get(key) or _unplanned(event)
        changes: dict[str, Any] = {}
        if event.kind == "step_started":
            changes = {"status": "running", "started_us": _microseconds(event.timestamp)}
        elif event.kind == "step_finished":
            changes = {"status": "ok", "duration_s": event.duration_s}
        elif event.kind == "step_failed":
            changes = {"status": "error", "message": event.message, "duration_s": _elapsed_s(step, event.timestamp)}
        if changes:
            self._put(key, msgspec.structs.replace(step, **changes))

    def _put(self, key: Key, step: StepLine) -> None:
        self.version += 1
        self.lines[key] = step


def _planned(plan: bytes | None) -> list[StepLine]:
    try:
        document = msgspec.json.decode(plan, type=PlanDocument) if plan else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return []
    return [StepLine(**msgspec.structs.asdict(step)) for step in document.steps] if document else []


def _unplanned(event: _StepEvent) -> StepLine:
    """Of a record that has no plan."""
    return StepLine(
        index=event.step,
        on_failure=event.on_failure,
        action=event.action,
        id=event.id or None,
        device=event.device or None,
        origin=event.origin or None,
        text=None,
        cmd=None,
    )


def _at_end(step: StepLine, sim_status: str | None) -> StepLine:
    """What ran or was still to come when the sim ended was not carried out."""
    if sim_status in (None, "running", "pending") or step.status not in ("running", "pending"):
        return step
    return msgspec.structs.replace(step, status="skipped" if step.status == "pending" else "interrupted")


def _microseconds(timestamp: str) -> int | None:
    try:
        return round(datetime.fromisoformat(timestamp).timestamp() * 1_000_000)
    except ValueError:
        return None


def _elapsed_s(step: StepLine, timestamp: str) -> float | None:
    ended_us = _microseconds(timestamp)
    if ended_us is None or step.started_us is None:
        return None
    return max(0.0, (ended_us - step.started_us) / 1_000_000)
