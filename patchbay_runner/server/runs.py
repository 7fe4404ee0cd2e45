"""One run of the served directory, read from its documents: a run directory, or a lab record without a manifest."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import msgspec

from patchbay_runner.results import lock
from patchbay_runner.results.documents import Manifest, RunStatus, Sim, SimSummary, Status
from patchbay_runner.results.origin import RunOrigin
from patchbay_runner.results.record import MANIFEST_NAME
from patchbay_runner.server.rooted import Parts, Stamp, file_at, is_served_name, read_at, read_document, stamp_at
from patchbay_runner.server.shapes import Run, RunHead, SimCounts, SimLine

EVENTS_NAME = "events.jsonl"
STATE_NAME = "state.json"

# A lab record has no lock that would tell whether it is still being written.
_RECORD_IS_ALIVE_S = 300.0
_FIRST_LINE_BYTES = 1 << 14

# What other writers of lab records call the states of a lab.
_STATUSES = {"stopped": "ok", "success": "ok", "passed": "ok", "failed": "error"} | {
    each.value: each.value for each in Status
}


_COUNTED = frozenset(SimCounts.__struct_fields__) - {"total"}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was found. `parts` lead to it; `stamps` tell when it has to be read again."""

    parts: Parts
    is_record: bool
    stamps: tuple[Stamp | None, ...]
    origin: RunOrigin
    run: Run

    @property
    def sort_key(self) -> tuple[str, str]:
        return self.run.started_at or "", self.run.name


class _SimHead(msgspec.Struct, frozen=True):
    status: str


class _ManifestHead(msgspec.Struct, frozen=True):
    """As much of a manifest as the list of runs needs: there are thousands."""

    status: RunStatus
    started_at: str
    ended_at: str | None
    runtime_ms: int | None
    simulations: tuple[_SimHead, ...]


def stamps_of(directory: int, *, is_record: bool) -> tuple[Stamp | None, ...]:
    """What a run's entry in the list depends on."""
    names = (EVENTS_NAME, STATE_NAME) if is_record else (MANIFEST_NAME,)
    return tuple(stamp_at(directory, name) for name in names)


def read_run(directory: int, name: str, origin: RunOrigin, *, is_record: bool) -> Run:
    """The run in an open directory. One that cannot be read says so of itself."""
    fields = _record_fields(directory, name) if is_record else _manifest_fields(directory)
    return Run(name=name, invocation=name.partition("/")[0], **fields, **msgspec.structs.asdict(origin))


def _manifest_fields(directory: int) -> dict[str, Any]:
    document = read_document(directory, MANIFEST_NAME)
    if document is None:
        return _unreadable(f"{MANIFEST_NAME} cannot be read")
    try:
        head = msgspec.json.decode(document, type=_ManifestHead)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(f"{MANIFEST_NAME}: {error}")
    sims = _counts([sim.status for sim in head.simulations])
    return {
        "status": _status(head.status, sims, directory),
        "started_at": head.started_at,
        "ended_at": head.ended_at,
        "runtime_ms": head.runtime_ms,
        "sims": sims,
    }


def _counts(statuses: list[str]) -> SimCounts:
    counts = Counter(status for status in statuses if status in _COUNTED)
    return SimCounts(total=len(statuses), **counts)


def _status(status: RunStatus, sims: SimCounts, directory: int) -> str:
    if status is RunStatus.RUNNING:
        return "running" if lock.is_held(".", directory) else "interrupted"
    if status is RunStatus.INTERRUPTED:
        return "interrupted"
    worst = [name for name in ("error", "overloaded", "interrupted") if getattr(sims, name)]
    return worst[0] if worst else "ok"


def _record_fields(directory: int, name: str) -> dict[str, Any]:
    document = read_document(directory, STATE_NAME)
    if document is None:
        return _unreadable(f"there is no {STATE_NAME}")
    try:
        state = msgspec.json.decode(document, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _unreadable(f"{STATE_NAME}: {error}")
    said = state.get("status")
    status = _STATUSES.get(said, "unreadable") if isinstance(said, str) else "unreadable"
    if status == "running" and not _is_alive(directory):
        status = "interrupted"
    label, started_at = state.get("label"), _first_time(directory)
    ended_at = state.get("updated_at") if status != "running" else None
    return {
        "status": status,
        "problem": None if status != "unreadable" else f"{STATE_NAME}: its status is {str(said)[:40]!r}",
        "label": label if isinstance(label, str) else None,
        "started_at": started_at,
        "ended_at": ended_at if isinstance(ended_at, str) else None,
        "sims": SimCounts() if status == "unreadable" else _counts([status]),
    }


def _is_alive(directory: int) -> bool:
    if stamp_at(directory, lock.LOCK_NAME):
        return lock.is_held(".", directory)
    stamp = stamp_at(directory, EVENTS_NAME)
    return stamp is not None and time.time() - stamp[1] / 1e9 < _RECORD_IS_ALIVE_S


def _first_time(directory: int) -> str | None:
    with file_at(directory, EVENTS_NAME) as descriptor:
        line = b"" if descriptor is None else read_at(descriptor, 0, _FIRST_LINE_BYTES).partition(b"\n")[0]
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        timestamp = msgspec.json.decode(line, type=dict[str, Any]).get("timestamp")
        return timestamp if isinstance(timestamp, str) else None
    return None


def _unreadable(problem: str) -> dict[str, Any]:
    return {"status": "unreadable", "problem": problem[:500]}


def read_detail(directory: int, found: Found, only: str | None = None) -> tuple[RunHead, tuple[SimLine, ...]]:
    """Everything that there is to know of a run without going through its events; of its sims, `only` that one."""
    fields = {name: getattr(found.run, name) for name in Run.__struct_fields__}
    document = None if found.is_record else read_document(directory, MANIFEST_NAME)
    if document is None:
        return RunHead(**fields), (_record_line(directory, found.run),) if found.is_record else ()
    try:
        manifest = msgspec.json.decode(document, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return RunHead(**fields), ()
    wanted = [summary for summary in manifest.simulations if only in (None, summary.sim_dir)]
    sims = tuple(_sim_line(directory, summary, found.run) for summary in wanted)
    head = RunHead(
        **fields,
        environment=manifest.environment,
        shard=manifest.shard,
        merged=manifest.merged,
        axes=_axes(manifest.simulations),
    )
    return head, sims


def _axes(sims: tuple[SimSummary, ...]) -> dict[str, Any]:
    axes: dict[str, dict[tuple[type, Any], Any]] = {}
    for sim in sims:
        for axis, value in sim.matrix.items():
            axes.setdefault(axis, {})[type(value), value] = value
    return {axis: tuple(values.values()) for axis, values in axes.items()}


def _sim_line(directory: int, summary: SimSummary, run: Run) -> SimLine:
    failed = summary.status in (Status.ERROR, Status.OVERLOADED, Status.INTERRUPTED)
    error = _sim_error(directory, summary.sim_dir) if failed else None
    # Of a run that was killed nobody wrote the end.
    is_cut = run.status != "running" and summary.status is Status.RUNNING
    return SimLine(
        name=summary.sim_dir,
        sim=summary.sim,
        title=summary.title,
        attempt=summary.attempt,
        matrix=summary.matrix,
        source=summary.source,
        status="interrupted" if is_cut else summary.status.value,
        runtime_ms=summary.runtime_ms,
        error=summary.error,
        phase=error.phase if error else None,
        failed_step=error.step if error else None,
    )


def _sim_error(directory: int, sim_dir: str) -> Any:
    if not is_served_name(sim_dir):
        return None  # whoever wrote that manifest may want to read elsewhere
    with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        descriptor = os.open(sim_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            document = read_document(descriptor, "sim.json")
        finally:
            os.close(descriptor)
        return msgspec.json.decode(document, type=Sim).error if document else None
    return None


def _record_line(directory: int, run: Run) -> SimLine:
    name = run.name.rpartition("/")[2]
    return SimLine(
        name=name,
        sim=run.label or name,
        title=run.label or name,
        attempt=None,
        matrix={},
        source="",
        status=run.status,
        runtime_ms=run.runtime_ms,
        error=run.problem,
    )
