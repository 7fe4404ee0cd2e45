"""Run directories as they are read again: by reports for CI, by merging, by sharding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.results import lock
from patchbay_runner.results.documents import Manifest, RunStatus, Sim, SimSummary, Status
from patchbay_runner.results.run import LATEST_NAME

MANIFEST_NAME = "manifest.json"

_Document = TypeVar("_Document", bound=msgspec.Struct)


class RecordedSim(msgspec.Struct, frozen=True):
    """A sim of a run. `document` is None when the sim was never started."""

    summary: SimSummary
    directory: Path
    document: Sim | None


class RecordedRun(msgspec.Struct, frozen=True):
    """A run. `is_cut_short` holds for one that was interrupted, killed or whose machine went away."""

    path: Path
    manifest: Manifest
    sims: tuple[RecordedSim, ...]

    @property
    def is_cut_short(self) -> bool:
        return self.manifest.status is not RunStatus.DONE


def find_runs(path: Path) -> list[Path]:
    """The run directories at and below `path`, sorted. Links are not followed: `latest` is the same run again.

    Raises InputError when there is none. Services that store directories replace links by what they point to, so a
    directory called `latest` is passed over where there are others beside it.
    """
    if not path.is_dir():
        what = "this is no directory" if path.exists() else "there is no such directory"
        raise _unusable(path, what, "a run directory")
    found = sorted(runs_below(path))
    if not found:
        raise _unusable(path, f"there is no {MANIFEST_NAME} in it or below it", "a run directory")
    return found


def runs_below(path: Path) -> Iterator[Path]:
    def tell(error: OSError) -> None:
        raise _unusable(Path(error.filename), f"cannot be read: {error.strerror}") from error

    for parent, directories, files in os.walk(path, onerror=tell):
        if MANIFEST_NAME in files:
            directories.clear()
            yield Path(parent)
        elif len(directories) > 1 and LATEST_NAME in directories:
            directories.remove(LATEST_NAME)


def read_run(path: Path) -> RecordedRun:
    """The run in the directory `path`. Raises InputError when that is no run, or one of another schema."""
    manifest = read_manifest(path)
    return RecordedRun(path, manifest, tuple(_read_sim(path, summary) for summary in manifest.simulations))


def read_manifest(path: Path) -> Manifest:
    """manifest.json of the run in the directory `path`. Raises InputError as `read_run` does."""
    return _read(path / MANIFEST_NAME, Manifest)


def is_running(run: RecordedRun) -> bool:
    """Whether the run is still being written."""
    return run.manifest.status is RunStatus.RUNNING and lock.is_held(run.path)


def _read_sim(run: Path, summary: SimSummary) -> RecordedSim:
    if summary.sim_dir in ("", "..") or Path(summary.sim_dir).name != summary.sim_dir:
        raise _unusable(run / MANIFEST_NAME, f"{summary.sim_dir!r} is no name of a sim's directory")
    directory = run / summary.sim_dir
    document = directory / "sim.json"
    if summary.status is Status.PENDING and not document.exists():
        return RecordedSim(summary, directory, None)
    return _as_documented(summary, directory, _read(document, Sim))


def _as_documented(summary: SimSummary, directory: Path, document: Sim) -> RecordedSim:
    """The manifest of a run that was killed is a little older than what its sims say of themselves."""
    error = document.error.message.partition("\n")[0] if document.error else None
    current = msgspec.structs.replace(summary, status=document.status, runtime_ms=document.runtime_ms, error=error)
    return RecordedSim(current, directory, document)


def _read(path: Path, kind: type[_Document]) -> _Document:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise _unusable(path, f"another version of patchbay wrote this: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unusable(path, f"this is no JSON: {error}") from error


def _unusable(path: Path, message: str, expected: str = "") -> InputError:
    return InputError([Diagnostic(str(path), 0, "", message, expected)])
