"""Cutting a byte stream into blocks of whole lines, in bounded memory."""

from __future__ import annotations

# The longest line that is looked at. What a line has beyond it is dropped (from the parser's view only: the logs get
# every byte), so that a program which never ends its line cannot fill the memory.
LINE_LIMIT = 16 * 1024 * 1024


class LineBuffer:
    """Collects chunks and hands out whole lines. `cut_lines` counts the lines that were longer than `limit` bytes."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self.cut_lines = 0
        self._limit = limit
        self._tail = bytearray()
        self._is_cutting = False

    def feed(self, chunk: bytes) -> bytes:
        """The lines that `chunk` completes, each ended by a newline; b"" while a line goes on."""
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            self._keep(chunk)
            return b""
        if not self._tail:
            block = chunk if end == len(chunk) else chunk[:end]
        else:
            first = chunk.index(b"\n")
            self._keep(chunk[:first])
            block = b"".join((self._tail, memoryview(chunk)[first:end]))
            self._tail = bytearray()
        self._is_cutting = False
        if end < len(chunk):
            self._keep(chunk[end:])
        return block

    def finish(self) -> bytes:
        """The last line when it has no newline, with one added; b"" when there is none."""
        block = bytes(self._tail) + b"\n" if self._tail else b""
        self._tail.clear()
        self._is_cutting = False
        return block

    def _keep(self, part: bytes) -> None:
        room = self._limit - len(self._tail)
        self._tail += part[:room]
        if len(part) > room and not self._is_cutting:
            self._is_cutting = True
            self.cut_lines += 1
