"""What runs become when they are put together, and what is odd about that. Pure: nothing is read or written here."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from patchbay_runner.results.documents import MergedRun, RunStatus, Sim, SimError, SimSummary, Status
from patchbay_runner.results.names import UniqueNames
from patchbay_runner.results.record import RecordedRun, RecordedSim

_KILLED = "the run was killed, or its machine went away"


class MergedSim(msgspec.Struct, frozen=True):
    """A sim in its new place; `document` is None when it was never started."""

    origin: RecordedSim
    summary: SimSummary
    document: Sim | None


class Merger(msgspec.Struct, frozen=True):
    """Runs put together. `gaps` are what is missing of the whole, `remarks` what else is worth knowing."""

    runs: tuple[MergedRun, ...]
    sims: tuple[MergedSim, ...]
    gaps: tuple[str, ...]
    remarks: tuple[str, ...]


def merge(runs: Sequence[RecordedRun]) -> Merger:
    """Puts runs together: shards in their order, other runs behind them in the order given."""
    ordered = sorted(runs, key=lambda run: run.manifest.shard.index if run.manifest.shard else sys.maxsize)
    parts = tuple(part for run in ordered for part in _parts(run))
    names = UniqueNames()
    sims = tuple(_moved(sim, names.claim(sim.summary.sim_dir)) for run in ordered for sim in run.sims)
    gaps = (*_cut_short(ordered), *_missing(parts))
    return Merger(parts, sims, gaps, (*_versions(parts), *_twice(ordered)))


def _parts(run: RecordedRun) -> tuple[MergedRun, ...]:
    """The run itself, or the runs that it was put together of."""
    manifest = run.manifest
    itself = MergedRun(
        run=manifest.run,
        status=RunStatus.INTERRUPTED if run.is_cut_short else manifest.status,
        started_at=manifest.started_at,
        ended_at=manifest.ended_at,
        runtime_ms=manifest.runtime_ms,
        environment=manifest.environment,
        shard=manifest.shard,
    )
    return manifest.merged or (itself,)


def _moved(sim: RecordedSim, directory: str) -> MergedSim:
    """The sim under its new name. One that ran when its run was killed was interrupted by that."""
    summary, document = sim.summary, sim.document
    if summary.status is Status.RUNNING:
        summary = msgspec.structs.replace(summary, status=Status.INTERRUPTED, error=summary.error or _KILLED)
    if document and document.status is Status.RUNNING:
        error = SimError(phase="interrupted", message=_KILLED, step=None, output=(), traceback=None)
        document = msgspec.structs.replace(document, status=Status.INTERRUPTED, error=error)
    if document:
        document = msgspec.structs.replace(document, sim_dir=directory)
    summary = msgspec.structs.replace(summary, sim_dir=directory, sim_json=f"{directory}/sim.json")
    return MergedSim(sim, summary, document)


def _cut_short(runs: Sequence[RecordedRun]) -> Iterator[str]:
    for run in runs:
        if run.is_cut_short:
            part = run.manifest.shard
            shard = f"shard {part.index}/{part.total}, " if part else ""
            how = "was interrupted" if run.manifest.status is RunStatus.INTERRUPTED else "was killed"
            over = sum(sim.summary.status in (Status.OK, Status.ERROR, Status.OVERLOADED) for sim in run.sims)
            yield f"{shard}{run.path}, {how}: {over} of {len(run.sims)} sims came to their end"


def _missing(parts: Sequence[MergedRun]) -> Iterator[str]:
    """Shards that are not there, of as many as there should be."""
    shards = [part.shard for part in parts if part.shard]
    totals = sorted({shard.total for shard in shards})
    if len(totals) > 1:
        yield f"the runs are shards of different wholes: of {', '.join(map(str, totals))}"
        return
    if len({shard.digest for shard in shards}) > 1:
        yield (
            "the shards were not dealt alike: their machines saw other files, or other --durations; "
            "sims may be missing, or be there twice"
        )
    there = {shard.index for shard in shards}
    gone = [index for total in totals for index in range(1, total + 1) if index not in there]
    for index in gone:
        yield f"shard {index}/{totals[0]} is missing"


def _versions(parts: Sequence[MergedRun]) -> Iterator[str]:
    versions = sorted({part.environment.patchbay_version for part in parts})
    if len(versions) > 1:
        yield f"the runs are by different versions of patchbay: {', '.join(versions)}"


def _twice(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """Variants that several runs have. Attempts of one run are meant to be there."""
    variants = ({(sim.summary.sim, sim.summary.source) for sim in run.sims} for run in runs)
    times = Counter(variant for of_run in variants for variant in sorted(of_run))
    for (sim, source), number in times.items():
        if number > 1:
            yield f"{sim} ({source}) is in {number} of the runs; all are kept"
