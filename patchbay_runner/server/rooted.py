"""Reading below one directory and nowhere else, also while somebody moves links about in it.

Every component of a path is opened by itself, from the descriptor of the one before and never through a link, so there
is no moment between a check and a use. Names that begin with a dot are not served: locks, files that are being written,
uploads that are not whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from patchbay_runner.server.refusals import Refusal, not_found

Parts = tuple[str, ...]
# Inode, time of change and size: when these are the same, so is the file.
Stamp = tuple[int, int, int]

# A document that is larger than this is not one of ours.
MOST_DOCUMENT_BYTES = 64 << 20

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe must not hold us up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_LONGEST_NAME = 255
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENXIO, errno.ESTALE)


class Root:
    """The directory that is served."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()

    @contextmanager
    def directory(self, parts: Sequence[str]) -> Iterator[int]:
        """A descriptor of the directory, closed after the block. Raises Refusal when there is none to be served."""
        descriptor = self.open_directory(parts)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def open_directory(self, parts: Sequence[str]) -> int:
        """The same, to be closed by the caller."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise Refusal(404, f"{self.path.name} cannot be read: {error.strerror}") from error
        for part in parts:
            parent = descriptor
            try:
                descriptor = _open_at(parent, part, _DIRECTORY)
            finally:
                os.close(parent)
        return descriptor

    def open_file(self, parts: Sequence[str]) -> int:
        """A descriptor of a regular file, to be closed by the caller. Raises Refusal when there is none."""
        if not parts:
            raise not_found("such file")
        with self.directory(parts[:-1]) as parent:
            return open_file_at(parent, parts[-1])


def open_file_at(parent: int, name: str) -> int:
    """A descriptor of the regular file `name` in a directory. Raises Refusal."""
    descriptor = _open_at(parent, name, _FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_found(f"file {printable(name)}")
    return descriptor


@contextmanager
def file_at(parent: int, name: str) -> Iterator[int | None]:
    """The same, closed after the block; None when there is none that may be read."""
    try:
        descriptor = open_file_at(parent, name)
    except Refusal:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_document(parent: int, name: str) -> bytes | None:
    """A whole document of a directory; None when there is none, or one that is no document of ours by its size."""
    with file_at(parent, name) as descriptor:
        size = os.fstat(descriptor).st_size if descriptor is not None else 0
        if descriptor is None or size > MOST_DOCUMENT_BYTES:
            return None
        return read_at(descriptor, 0, size)  # documents are replaced as a whole, so this is all of it


def stamp_at(parent: int, name: str) -> Stamp | None:
    """What tells one content of a regular file from another; None when there is no such file."""
    with suppress(OSError, ValueError):
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return stamp_of(found)
    return None


def stamp_of(found: os.stat_result) -> Stamp:
    """The same of what `stat` said."""
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_at(descriptor: int, start: int, count: int) -> bytes:
    """Up to `count` bytes from `start`; fewer only at the end."""
    pieces = []
    while count > 0 and (piece := os.pread(descriptor, count, start)):
        pieces.append(piece)
        start, count = start + len(piece), count - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def is_served_name(name: str) -> bool:
    """Whether a name may be a component of a path: encodable, visible, and one component only."""
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        return False
    with suppress(UnicodeEncodeError):
        return len(name.encode()) <= _LONGEST_NAME
    return False


def printable(name: str) -> str:
    """A name for a message."""
    return repr(name[:80].encode(errors="replace").decode(errors="replace"))


def _open_at(parent: int, name: str, flags: int) -> int:
    if not is_served_name(name):
        raise Refusal(403 if name in (".", "..") or "/" in name else 404, f"{printable(name)} is not served")
    try:
        return os.open(name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(parent, name):
            raise Refusal(403, f"{printable(name)} is a link, and links are not followed") from error
        if error.errno in _ABSENT:
            raise not_found(f"{printable(name)} there") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Refusal(403, f"{printable(name)} cannot be read: {error.strerror}") from error
        raise


def _is_link(parent: int, name: str) -> bool:
    with suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    return False
