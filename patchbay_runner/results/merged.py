"""Writes runs that were put together as one run directory."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.model.recording import StepResult
from patchbay_runner.results import documents, lock, reports
from patchbay_runner.results.documents import CombinedResults, CombinedSim, Manifest, RunStatus, Status
from patchbay_runner.results.files import Owner, point_symlink, write_atomically
from patchbay_runner.results.merging import MergedSim, Merger
from patchbay_runner.results.record import RecordedRun
from patchbay_runner.results.run import environment, link_to_latest, make_new, progress


class _ResultSteps(msgspec.Struct, frozen=True):
    """Of results.json, what combined-results.json has too."""

    steps: tuple[StepResult, ...] = ()


def write_merged(merger: Merger, runs: Sequence[RecordedRun], work_dir: Path, owner: Owner | None) -> Path:
    """Copies everything into a new run directory below `work_dir`, and points `latest` there.

    Raises HostError when that cannot be written or something cannot be read; nothing half-made is left.
    """
    link = link_to_latest(work_dir, owner)
    path = make_new(link.parent, owner)
    descriptor = lock.hold(path, owner)
    try:
        _fill(path, merger, runs, owner)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        os.close(descriptor)
    point_symlink(link, path.name, owner)
    return path


def _fill(path: Path, merger: Merger, runs: Sequence[RecordedRun], owner: Owner | None) -> None:
    for sim in merger.sims:
        if sim.origin.directory.is_dir():
            _copy(sim.origin.directory, path / sim.summary.sim_dir)
            _rewrite(sim, path / sim.summary.sim_dir)
    for number, run in enumerate(runs, 1):
        if (run.path / "traceback.txt").is_file():
            write_atomically(path / f"traceback-{number}.txt", (run.path / "traceback.txt").read_bytes())
    combined = CombinedResults(runs=tuple(_combined(sim, path) for sim in merger.sims))
    manifest = _manifest(path.name, merger)
    write_atomically(path / "combined-results.json", documents.encode(combined))
    write_atomically(path / "combined-results.md", reports.combined_markdown(combined).encode())
    now = progress(manifest.run, manifest.status, manifest.started_at, manifest.simulations)
    write_atomically(path / "progress.json", documents.encode(now))
    write_atomically(path / "manifest.json", documents.encode(manifest))
    if owner:
        _give(path, owner)


def _copy(source: Path, target: Path) -> None:
    """Links stay links, and what is neither file, directory nor link stays away: programs leave sockets and pipes."""
    try:
        shutil.copytree(source, target, symlinks=True, ignore=_special)
    except shutil.Error as error:
        ((name, _, reason), *_) = error.args[0]
        raise HostError(f"cannot copy {name}: {reason}") from error
    except OSError as error:
        raise HostError(f"cannot copy {error.filename or source}: {error.strerror}") from error


def _special(directory: str, names: list[str]) -> set[str]:
    """What is not copied; a document that was being written when its run was killed is half of one."""
    modes = {name: os.lstat(os.path.join(directory, name)).st_mode for name in names}  # noqa: PTH118
    usual = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    return {
        name
        for name, mode in modes.items()
        if not any(is_kind(mode) for is_kind in usual) or (name.startswith(".") and name.endswith(".new"))
    }


def _rewrite(sim: MergedSim, directory: Path) -> None:
    """Brings a sim's own documents in line where its name or its status has changed."""
    if sim.document is None or sim.document == sim.origin.document:
        return
    write_atomically(directory / "sim.json", documents.encode(sim.document))
    results = directory / "results.json"
    if sim.summary.status is not sim.origin.summary.status and results.is_file():
        found = msgspec.json.decode(results.read_bytes(), type=documents.SimResults)
        write_atomically(results, documents.encode(msgspec.structs.replace(found, status=sim.summary.status)))


def _combined(sim: MergedSim, path: Path) -> CombinedSim:
    results = path / sim.summary.sim_dir / "results.json"
    steps = msgspec.json.decode(results.read_bytes(), type=_ResultSteps).steps if results.is_file() else ()
    return CombinedSim(
        run=path.name,
        sim_dir=sim.summary.sim_dir,
        sim=sim.summary.sim,
        attempt=sim.summary.attempt,
        status=sim.summary.status,
        matrix=sim.summary.matrix,
        steps=steps,
    )


def _manifest(run: str, merger: Merger) -> Manifest:
    """From the first start to the last end. A whole with a gap was interrupted: not every sim has its verdict."""
    started = min(part.started_at for part in merger.runs)
    ended = max((part.ended_at for part in merger.runs if part.ended_at), default=None)
    runtime_ms = round((_moment(ended) - _moment(started)).total_seconds() * 1000) if ended else None
    summaries = tuple(sim.summary for sim in merger.sims)
    return Manifest(
        run=run,
        status=RunStatus.INTERRUPTED if merger.gaps else RunStatus.DONE,
        started_at=started,
        ended_at=ended,
        runtime_ms=runtime_ms,
        success=not merger.gaps and all(summary.status is Status.OK for summary in summaries),
        environment=environment(),
        merged=merger.runs,
        simulations=summaries,
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _give(path: Path, owner: Owner) -> None:
    for parent, directories, files in os.walk(path):
        for name in (".", *directories, *files):
            os.chown(Path(parent, name), owner.uid, owner.gid, follow_symlinks=False)
