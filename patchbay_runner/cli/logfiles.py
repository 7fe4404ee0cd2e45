"""Reading logs line by line in constant memory, and following those that grow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

_CHUNK_BYTES = 256 * 1024
# Lines beyond it are handed out in pieces.
_LONGEST_LINE_BYTES = 4 * 1024 * 1024
_LOOK_INTERVAL_S = 0.1


class LineSplitter:
    """Cuts chunks into lines, each with its newline. A line that is too long comes in pieces, none of them a line."""

    def __init__(self, limit: int = _LONGEST_LINE_BYTES) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._is_torn = False

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bool]]:
        """Each line, or piece of one, and whether it is whole."""
        self._tail += chunk
        end = self._tail.rfind(b"\n") + 1
        block = bytes(self._tail[:end])
        del self._tail[:end]
        for line in block.splitlines(keepends=True) if b"\r" not in block else _lines(block):
            yield line, not self._is_torn
            self._is_torn = False
        if len(self._tail) > self._limit:
            yield self._cut()
            self._is_torn = True

    def finish(self) -> Iterator[tuple[bytes, bool]]:
        """What is left without a newline."""
        if self._tail:
            yield self._cut()
        self._is_torn = False

    def _cut(self) -> tuple[bytes, bool]:
        is_whole = not self._is_torn and len(self._tail) <= self._limit
        piece = bytes(self._tail)
        self._tail.clear()
        return piece, is_whole


def _lines(block: bytes) -> list[bytes]:
    """bytes.splitlines also cuts at a lone carriage return, which progress bars write."""
    return [line + b"\n" for line in block[:-1].split(b"\n")] if block else []


def chunks_of(stream: BufferedReader) -> Iterator[bytes]:
    """What the stream has, as it comes."""
    while chunk := stream.read1(_CHUNK_BYTES):
        yield chunk


def followed_chunks(path: Path) -> Iterator[bytes | None]:
    """A file from its beginning and for ever; None where it begins anew, truncated or replaced by another file.

    Yields b"" before each wait.
    """
    stream = path.open("rb")
    try:
        while True:
            yield from chunks_of(stream)
            # First the look, then the rest: what was written to the old file before its name changed hands is read.
            successor = _successor(path, stream)
            yield from chunks_of(stream)
            if successor is not None:
                stream.close()
                stream = successor
                yield None
            elif os.fstat(stream.fileno()).st_size < stream.tell():
                stream.seek(0)
                yield None
            else:
                yield b""
                time.sleep(_LOOK_INTERVAL_S)
    finally:
        stream.close()


def _successor(path: Path, stream: BufferedReader) -> BufferedReader | None:
    """The file that has taken the name over; None while there is no other."""
    try:
        candidate = path.open("rb")
    except FileNotFoundError:
        return None
    if os.path.samestat(os.fstat(candidate.fileno()), os.fstat(stream.fileno())):
        candidate.close()
        return None
    return candidate
