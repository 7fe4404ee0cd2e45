"""The directory of one `patchbay run`: its name, its lock, and the documents over all its sims."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from patchbay_runner import __version__
from patchbay_runner.errors import HostError, PatchbayError
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.results import documents, lock, reports
from patchbay_runner.results.documents import RunStatus, ShardOfRun, SimSummary, Status, document_time
from patchbay_runner.results.files import Owner, make_directories, point_symlink, write_atomically
from patchbay_runner.results.names import UniqueNames, directory_name
from patchbay_runner.results.sim import SimRecord

LATEST_NAME = "latest"

# With thousands of sims the documents over all of them must not be rewritten for each.
WRITE_INTERVAL_S = 0.5
_INTERVALS_PER_WRITE = 10


class RunDirectory:
    """Holds the lock from `create` to `close`. Every sim is listed from the start, as pending."""

    def __init__(
        self, path: Path, lock_fd: int, plans: Sequence[Plan], owner: Owner | None, shard: ShardOfRun | None = None
    ) -> None:
        self.path = path
        self._shard = shard
        names = UniqueNames()
        self.sims = tuple(SimRecord(plan, path / names.claim(_directory_name(plan)), owner) for plan in plans)
        self._lock_fd = lock_fd
        self._owner = owner
        self._environment = environment()
        self._started_at, self._started_s = datetime.now(UTC), time.monotonic()
        self._ended_at: datetime | None = None
        self._runtime_s: float | None = None
        self._status = RunStatus.RUNNING
        self._next_write_s = 0.0
        # Set by who runs the sims: an interruption may come when the running one has its verdict already.
        self.was_interrupted = False

    @classmethod
    def create(
        cls, work_dir: Path, plans: Sequence[Plan], owner: Owner | None = None, shard: ShardOfRun | None = None
    ) -> RunDirectory:
        """Makes `sim-<UTC time>[-n]` below `work_dir` and points `latest` at it.

        Raises HostError when it cannot be written.
        """
        link = link_to_latest(work_dir, owner)
        path = make_new(link.parent, owner)
        directory = cls(path, lock.hold(path, owner), plans, owner, shard)
        directory.write()
        point_symlink(link, path.name, owner)
        return directory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        # An error of ours is told by the sims that it stopped; what nobody foresaw cut the run short.
        self.close(is_interrupted=error is not None and not isinstance(error, PatchbayError))

    @property
    def is_ok(self) -> bool:
        return all(sim.state.status is Status.OK for sim in self.sims)

    def write(self) -> None:
        """Writes manifest.json and progress.json."""
        started = time.monotonic()
        summaries = tuple(sim.state.summary() for sim in self.sims)
        self._write("manifest.json", documents.encode(self._manifest(summaries)))
        self._write("progress.json", documents.encode(self._progress(summaries)))
        now = time.monotonic()
        self._next_write_s = now + max(WRITE_INTERVAL_S, _INTERVALS_PER_WRITE * (now - started))

    def write_if_due(self) -> None:
        """Brings the documents up to date, when the last time is long enough ago."""
        if time.monotonic() >= self._next_write_s:
            self.write()
        for sim in self.sims:
            sim.write_if_due()

    def close(self, *, is_interrupted: bool = False) -> None:
        """Writes the final documents and lets go of the lock. A sim that still runs was cut short with the run."""
        for sim in self.sims:
            if sim.state.status is Status.RUNNING:
                sim.end(Failure(phase="interrupted", message="interrupted"))
        was_cut = (
            is_interrupted or self.was_interrupted or any(sim.state.status is Status.INTERRUPTED for sim in self.sims)
        )
        self._status = RunStatus.INTERRUPTED if was_cut else RunStatus.DONE
        self._ended_at, self._runtime_s = datetime.now(UTC), time.monotonic() - self._started_s
        combined = documents.CombinedResults(runs=tuple(sim.state.combined(self.path.name) for sim in self.sims))
        self._write("combined-results.json", documents.encode(combined))
        self._write("combined-results.md", reports.combined_markdown(combined).encode())
        self.write()
        os.close(self._lock_fd)

    def save_traceback(self, text: str) -> Path:
        """Keeps the traceback of a defect."""
        self._write("traceback.txt", text.encode())
        return self.path / "traceback.txt"

    def _manifest(self, summaries: tuple[SimSummary, ...]) -> documents.Manifest:
        return documents.Manifest(
            run=self.path.name,
            status=self._status,
            started_at=document_time(self._started_at),
            ended_at=document_time(self._ended_at) if self._ended_at else None,
            runtime_ms=None if self._runtime_s is None else round(self._runtime_s * 1000),
            success=None if self._status is RunStatus.RUNNING else self.is_ok,
            environment=self._environment,
            shard=self._shard,
            simulations=summaries,
        )

    def _progress(self, summaries: tuple[SimSummary, ...]) -> documents.Progress:
        running = [sim.state for sim in self.sims if sim.state.status is Status.RUNNING]
        current = max(running, key=lambda state: state.elapsed_s).plan.name if running else None
        return progress(self.path.name, self._status, document_time(self._started_at), summaries, current)

    def _write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, content, self._owner)


def progress(
    run: str, status: RunStatus, started_at: str, summaries: tuple[SimSummary, ...], current_sim: str | None = None
) -> documents.Progress:
    """progress.json as of now; `current_sim` is the one that runs for the longest time."""
    by_status = {status: [each.sim for each in summaries if each.status is status] for status in Status}
    return documents.Progress(
        run=run,
        status=status,
        started_at=started_at,
        updated_at=document_time(datetime.now(UTC)),
        total=len(summaries),
        completed=len(summaries) - len(by_status[Status.PENDING]) - len(by_status[Status.RUNNING]),
        ok=len(by_status[Status.OK]),
        error=len(by_status[Status.ERROR]),
        current_sim=current_sim,
        simulations=summaries,
    )


def _directory_name(plan: Plan) -> str:
    """Each attempt has its own."""
    return directory_name(plan.name) + (f"-attempt-{plan.attempt}" if plan.attempt else "")


def link_to_latest(work_dir: Path, owner: Owner | None) -> Path:
    """Makes `work_dir`; returns the place of the link in it. Raises HostError when something else is there."""
    make_directories(work_dir, owner)
    link = work_dir.resolve() / LATEST_NAME
    if link.exists() and not link.is_symlink():
        raise HostError(f"{link} is in the way of the link to the latest run", f"mv {link} {link}.old")
    return link


def make_new(work_dir: Path, owner: Owner | None) -> Path:
    """Runs that start in the same second get `-2`, `-3`, …; mkdir decides who was first."""
    stem, number = f"sim-{datetime.now(UTC):%y%m%d-%H%M%S}", 1
    while True:
        path = work_dir / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise HostError(f"cannot make {path}: {error.strerror}") from error
        if owner:
            os.chown(path, owner.uid, owner.gid)
        return path


def environment() -> documents.Environment:
    """Facts about this process and its machine."""
    uname = os.uname()
    return documents.Environment(
        os=uname.sysname.lower(),
        arch=uname.machine,
        family="unix",
        kernel=uname.release,
        python=sys.version.partition(" ")[0],
        current_dir=str(Path.cwd()),
        executable=sys.executable,
        patchbay_version=__version__,
    )
