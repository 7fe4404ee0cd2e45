"""A pushed tar.gz, written to a directory of its own while it arrives, within limits."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import msgspec

from patchbay_runner.model.sizes import format_size
from patchbay_runner.results.names import is_portable
from patchbay_runner.server.pushed.gunzip import Gunzip
from patchbay_runner.server.pushed.refusal import Refusal, bad_archive, refused_write, too_large
from patchbay_runner.server.pushed.tar import Member, TarReader

# Logs that repeat themselves shrink to a hundredth; deflate cannot do better than to a thousandth (zlib's FAQ).
_HIGHEST_RATIO = 400
_RATIO_COUNTS_FROM_BYTES = 64_000_000
_FILE_SYSTEM_BLOCK = 4096
_DEEPEST = 32
_LONGEST_NAME_BYTES = 255
_NOT_A_PLACE = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class Limits(msgspec.Struct, frozen=True):
    """What a single push may hold. `bytes` counts everything that comes out of gzip."""

    bytes: int = 10_000_000_000
    files: int = 200_000


class Unpacker:
    """Unpacks into `target`, which is empty and nobody else's. `passed_over` are names that are not written."""

    def __init__(self, target: Path, limits: Limits, passed_over: frozenset[str] = frozenset()) -> None:
        self._target = target
        self._limits = limits
        self._passed_over = passed_over
        self._gunzip = Gunzip()
        self._tar = TarReader()
        self._descriptor = -1
        # An answer that is called off closes what another thread may still be writing to.
        self._work = threading.Lock()
        self._directories: set[tuple[str, ...]] = {()}
        self._packed_bytes = 0
        self._unpacked_bytes = 0
        self.files = 0
        self.disk_bytes = _FILE_SYSTEM_BLOCK

    def feed(self, data: bytes) -> None:
        """Writes what `data` unpack to. Raises Refusal."""
        with self._work:
            self._feed(data)

    def finish(self) -> None:
        """Raises Refusal when the archive is not whole or holds no file."""
        self.close()
        self._gunzip.finish()
        self._tar.finish()
        if not self.files:
            raise bad_archive("there is no file in the archive")

    def close(self) -> None:
        """Closes the file that is being written. Nothing more can be fed."""
        with self._work:
            self._close_file()

    def _feed(self, data: bytes) -> None:
        self._packed_bytes += len(data)
        if self._packed_bytes > self._limits.bytes:
            raise self._too_many_bytes()
        try:
            for piece in self._gunzip.feed(data):
                self._count(len(piece))
                for part in self._tar.feed(piece):
                    self._write(part) if isinstance(part, bytes) else self._begin(part)
        except OSError as error:
            raise _explained(error) from error

    def _close_file(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _count(self, size: int) -> None:
        self._unpacked_bytes += size
        if self._unpacked_bytes > self._limits.bytes:
            raise self._too_many_bytes()
        if self._unpacked_bytes > max(_RATIO_COUNTS_FROM_BYTES, self._packed_bytes * _HIGHEST_RATIO):
            raise too_large(f"the archive unpacks to more than {_HIGHEST_RATIO} times its size")

    def _too_many_bytes(self) -> Refusal:
        return too_large(f"the archive holds more than the {format_size(self._limits.bytes)} that this server takes")

    def _begin(self, member: Member) -> None:
        self._close_file()
        parts = safe_parts(member.name)
        if member.is_directory:
            self._make_directories(parts)
            return
        if not parts:
            raise bad_archive(f"{member.name!r} in the archive is no name of a file")
        if member.size > self._limits.bytes - self._unpacked_bytes + _FILE_SYSTEM_BLOCK:
            raise self._too_many_bytes()
        if "/".join(parts) in self._passed_over:
            return
        self._make_directories(parts[:-1])
        self._count_entry(member.size)
        self.files += 1
        self._descriptor = os.open(self._target.joinpath(*parts), _NEW_FILE, 0o644)

    def _make_directories(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            directory = parts[:depth]
            if directory not in self._directories:
                self._count_entry(_FILE_SYSTEM_BLOCK)
                self._target.joinpath(*directory).mkdir()
                self._directories.add(directory)

    def _count_entry(self, size: int) -> None:
        self.disk_bytes += size + -size % _FILE_SYSTEM_BLOCK
        if self.files + len(self._directories) > self._limits.files:
            raise too_large(f"the archive holds more than the {self._limits.files} files that this server takes")

    def _write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view and self._descriptor >= 0:
            view = view[os.write(self._descriptor, view) :]


def safe_parts(name: str) -> tuple[str, ...]:
    """The path below the target that `name` means. Raises Refusal for one that leads elsewhere or cannot be shown."""
    shown = f"{name[:200]!r} in the archive"
    if name.startswith("/") and name.strip("/"):
        raise bad_archive(f"{shown} is an absolute path")
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if ".." in parts:
        raise bad_archive(f"{shown} leads out of it")
    if not is_portable(name):
        raise bad_archive(f"{shown} has a control character in its name")
    if len(parts) > _DEEPEST or any(len(part.encode()) > _LONGEST_NAME_BYTES for part in parts):
        raise bad_archive(f"{shown} is too long or too deep")
    return parts


def _explained(error: OSError) -> Refusal:
    if error.errno in _NOT_A_PLACE:
        name = Path(error.filename).name if error.filename else ""
        return bad_archive(f"{name!r} is in the archive twice, or as a file and a directory")
    if error.errno == errno.ENAMETOOLONG:
        return bad_archive("a path in the archive is too long")
    return refused_write(error)
