"""A tar.gz as a stream: made while it is sent, in memory that does not grow with it."""

from __future__ import annotations

import os
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from patchbay_runner.errors import PushError
from patchbay_runner.pushing.contents import Contents
from patchbay_runner.results.origin import RUN_INFO_NAME

_GZIP = 16 + zlib.MAX_WBITS
# Twice as fast as 6, zlib's own choice, with logs, and a tenth larger.
_LEVEL = 4
_READ_BYTES = 1 << 18
_SENT_BYTES = 1 << 16


def packed(contents: Contents, run_info: bytes, progress: Callable[[int], None]) -> Iterator[bytes]:
    """The archive of `contents`, with `run_info` as run.json, piece by piece.

    `progress` is told how many bytes of the files are packed by now.
    """
    packer = zlib.compressobj(level=_LEVEL, wbits=_GZIP)
    waiting = bytearray()
    for piece in _plain(contents, run_info, progress):
        waiting += packer.compress(piece)
        if len(waiting) >= _SENT_BYTES:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting) + packer.flush()


def _plain(contents: Contents, run_info: bytes, progress: Callable[[int], None]) -> Iterator[bytes]:
    yield _header(RUN_INFO_NAME, len(run_info), time.time())
    yield run_info + _padding(len(run_info))
    done = 0
    for name, _ in contents.files:
        with _opened(contents.directory / name) as file:
            status = os.fstat(file.fileno())
            yield _header(name, status.st_size, status.st_mtime)
            for piece in _content(file, status.st_size):
                yield piece
                done += len(piece)
                progress(done)
            yield _padding(status.st_size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise PushError(f"{path} cannot be read: {error.strerror}") from error


def _content(file: BinaryIO, size: int) -> Iterator[bytes]:
    """A log may still grow, and is sent as long as it was; one that shrinks meanwhile is filled up, as tar does it."""
    while size:
        piece = file.read(min(size, _READ_BYTES)) or bytes(min(size, _READ_BYTES))
        size -= len(piece)
        yield piece


def _header(name: str, size: int, modified_s: float) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, int(modified_s)
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)
