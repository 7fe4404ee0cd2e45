"""What is pushed of a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.results.lock import LOCK_NAME
from patchbay_runner.results.names import is_portable
from patchbay_runner.results.origin import RUN_INFO_NAME
from patchbay_runner.results.record import MANIFEST_NAME, is_running, read_run, runs_below

_LAB_RECORD = "events.jsonl"
_RECORD_DEPTH = 3
_SHOWN_RUNS = 5


class Contents(msgspec.Struct, frozen=True):
    """A directory to push: its files by their names below it, and why others are left out."""

    directory: Path
    is_run: bool
    files: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


def contents_of(directory: Path) -> Contents:
    """What a push of `directory` sends: a run, the only run below it, or lab records, as test suites make them.

    Raises InputError when there is nothing to push, more than one run, or a run that is not over.
    """
    if not directory.is_dir():
        what = "this is no directory" if directory.exists() else "there is no such directory"
        raise _unusable(directory, what, "a run directory")
    directory = directory.resolve()
    runs = sorted(runs_below(directory))
    if len(runs) > 1:
        names = ", ".join(str(run.relative_to(directory)) for run in runs[:_SHOWN_RUNS])
        more = ", …" if len(runs) > _SHOWN_RUNS else ""
        raise _unusable(directory, f"there are {len(runs)} runs in it: {names}{more}", "one of them")
    if not runs and not _has_lab_record(directory):
        raise _unusable(directory, f"there is no {MANIFEST_NAME} in it or below it", "a run directory")
    if runs and is_running(read_run(runs[0])):
        raise _unusable(runs[0], "this run is not over yet")
    root = runs[0] if runs else directory
    files: list[tuple[str, int]] = []
    left_out: list[str] = []
    _collect(root, "", files, left_out)
    return Contents(root, bool(runs), tuple(files), tuple(left_out))


def _collect(root: Path, below: str, files: list[tuple[str, int]], left_out: list[str]) -> None:
    for entry in _entries(root / below):
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False) and is_portable(entry.name):
            _collect(root, f"{name}/", files, left_out)
        elif reason := _reason_to_leave_out(entry):
            left_out.append(f"{name}: {reason}")
        elif entry.name != LOCK_NAME and name != RUN_INFO_NAME:
            files.append((name, entry.stat(follow_symlinks=False).st_size))


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unusable(directory, f"cannot be read: {error.strerror}") from error


def _reason_to_leave_out(entry: os.DirEntry[str]) -> str:
    """Links mean something else, or nothing, on another machine."""
    if not is_portable(entry.name):
        return "its name cannot be sent"
    if entry.is_symlink():
        return "a link"
    if not entry.is_file(follow_symlinks=False):
        return "neither file nor directory"
    return "" if os.access(entry.path, os.R_OK) else "it cannot be read"


def _has_lab_record(directory: Path) -> bool:
    return any(_LAB_RECORD in names for names in _names_to_depth(directory, _RECORD_DEPTH))


def _names_to_depth(directory: Path, depth: int) -> Iterator[set[str]]:
    entries = _entries(directory)
    yield {entry.name for entry in entries}
    for entry in entries if depth else ():
        if entry.is_dir(follow_symlinks=False):
            yield from _names_to_depth(Path(entry.path), depth - 1)


def _unusable(path: Path, message: str, expected: str = "") -> InputError:
    return InputError([Diagnostic(str(path), 0, "", message, expected)])
