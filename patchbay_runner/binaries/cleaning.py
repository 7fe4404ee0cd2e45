"""What the user's cache holds, what of it nobody has used for long, and taking that away."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

# Locks that nobody holds, and what killed runs left behind. They are of no use, and go first.
REMAINS = "remains"
USELESS_S = 0.0
# Where things lie, by what they are to people. A file or directory there is one thing, whole or not at all.
KINDS = {
    "downloads": ("content", "downloads"),
    "programs": ("programs",),
    "repositories": ("repositories",),
    "logs": ("logs",),
    REMAINS: ("new", "locks"),
}
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's blocks are
# What is being taken away; never the name of a thing.
_GOING = ".going-"


class Kept(msgspec.Struct, frozen=True, order=True):
    """A thing in the cache: when it was used last, as a time of day, and the bytes that it takes on the disk."""

    used_s: float
    path: Path
    kind: str
    size: int


def survey(root: Path) -> list[Kept]:
    """Everything in the cache, the longest unused first."""
    return sorted(found for kind, names in KINDS.items() for name in names for found in _in(root / name, kind))


def unused(things: Sequence[Kept], *, since_s: float, most_bytes: int | None = None) -> list[Kept]:
    """Which of the things go: those not used since a time of day, and more, the longest unused first, until those that
    stay take `most_bytes` at most. Pure."""
    left = sum(thing.size for thing in things)
    going = []
    for thing in sorted(things):
        if thing.used_s >= since_s and (most_bytes is None or left <= most_bytes):
            break
        going.append(thing)
        left -= thing.size
    return going


def remove(things: Iterable[Kept]) -> None:
    """Takes things away, each whole at once. Nobody may be using them. Raises OSError."""
    for thing in things:
        going = thing.path.with_name(f"{_GOING}{thing.path.name}")
        thing.path.rename(going)
        if going.is_dir() and not going.is_symlink():
            shutil.rmtree(going)
        else:
            going.unlink()


def _in(directory: Path, kind: str) -> Iterator[Kept]:
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        is_useless = kind == REMAINS or path.name.startswith(_GOING)
        with suppress(FileNotFoundError):  # a run may take it away while it is looked at
            used_s = USELESS_S if is_useless else path.lstat().st_mtime
            yield Kept(used_s, path, REMAINS if is_useless else kind, _size(path))


def _size(path: Path) -> int:
    """On the disk. Links are not followed."""
    size = 0
    with suppress(FileNotFoundError):
        size = path.lstat().st_blocks * _BLOCK_BYTES
        if path.is_dir() and not path.is_symlink():
            size += sum(_size(Path(entry)) for entry in os.scandir(path))
    return size
