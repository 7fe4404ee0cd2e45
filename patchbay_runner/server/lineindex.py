"""Which line begins where in a log of any size: newlines are counted once, piece by piece, and remembered."""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import OrderedDict

from patchbay_runner.server.rooted import read_at

PIECE_BYTES = 1 << 20
# Until a log is larger than this its lines are counted before the first answer.
_AT_ONCE_BYTES = 16 * PIECE_BYTES
_MOST_INDEXES = 64


class LineIndex:
    """`counts[n]` newlines are in the first `n` pieces. Only whole pieces are remembered: the last one may grow."""

    def __init__(self) -> None:
        self.counts = [0]
        self._lock = threading.Lock()
        self._is_counting = False

    def extend(self, descriptor: int, line: int | None = None) -> None:
        """Counts on to the end, or until `line` (from 0) is known."""
        with self._lock:
            while line is None or self.counts[-1] < line:
                piece = read_at(descriptor, (len(self.counts) - 1) * PIECE_BYTES, PIECE_BYTES)
                if len(piece) < PIECE_BYTES:
                    return
                self.counts.append(self.counts[-1] + piece.count(b"\n"))

    def count_aside(self, descriptor: int) -> None:
        """Does the same in a thread of its own, unless one does already."""
        if self._is_counting:
            return
        self._is_counting = True
        own = os.dup(descriptor)
        threading.Thread(target=self._count_and_close, args=(own,), name="line-index", daemon=True).start()

    def line_at(self, descriptor: int, place: int) -> int | None:
        """How many lines end before `place`; None while that is not counted yet."""
        piece = place // PIECE_BYTES
        if piece >= len(self.counts):
            return None
        start = piece * PIECE_BYTES
        return self.counts[piece] + read_at(descriptor, start, place - start).count(b"\n")

    def place_of(self, descriptor: int, line: int) -> int:
        """Where the line begins that `line` others end before; the end of the file when there are not so many."""
        self.extend(descriptor, line)
        if line <= 0:
            return 0
        piece = max(0, bisect_left(self.counts, line) - 1)
        start, missing = piece * PIECE_BYTES, line - self.counts[piece]
        data, found = read_at(descriptor, start, PIECE_BYTES), -1
        for _ in range(missing):
            found = data.find(b"\n", found + 1)
            if found < 0:
                return start + len(data)
        return start + found + 1

    def _count_and_close(self, descriptor: int) -> None:
        try:
            self.extend(descriptor)
        finally:
            os.close(descriptor)
            self._is_counting = False


class LineIndexes:
    """The indexes of the logs that were asked for last."""

    def __init__(self) -> None:
        self._indexes: OrderedDict[tuple[int, int], tuple[int, LineIndex]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, descriptor: int) -> LineIndex:
        """The index of an open file, as far as it is counted now: that of a large one is counted meanwhile."""
        found = os.fstat(descriptor)
        key = found.st_dev, found.st_ino
        with self._lock:
            known_size, index = self._indexes.pop(key, (0, LineIndex()))
            if found.st_size < known_size:
                index = LineIndex()  # it was made shorter: another content
            self._indexes[key] = found.st_size, index
            while len(self._indexes) > _MOST_INDEXES:
                self._indexes.popitem(last=False)
        missing = found.st_size // PIECE_BYTES - (len(index.counts) - 1)
        if missing * PIECE_BYTES > _AT_ONCE_BYTES:
            index.count_aside(descriptor)
        elif missing > 0:
            index.extend(descriptor)
        return index
