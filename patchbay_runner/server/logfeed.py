"""One log, followed at its end."""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec

from patchbay_runner.server.feeds import Feed
from patchbay_runner.server.lineindex import LineIndexes
from patchbay_runner.server.logs import LogReader
from patchbay_runner.server.rooted import Parts, Root
from patchbay_runner.server.watching import Watch, Watcher

# How much is sent at once.
WINDOW_BYTES = 256 << 10


class LogNow(NamedTuple):
    """A log at one moment: its whole size, and the window that was added last, from `start` to `end`."""

    size: int
    start: int
    end: int
    window: bytes


class LogFeed(Feed):
    """`now` is replaced as a whole. A line is told when it is whole."""

    def __init__(self, root: Root, watcher: Watcher, indexes: LineIndexes, parts: Parts) -> None:
        super().__init__()
        self.now = LogNow(0, 0, 0, b"")
        self._root, self._watcher, self._indexes, self._parts = root, watcher, indexes, parts
        self._watch: Watch | None = None

    def read(self) -> bool:
        """Looks whether there is more."""
        descriptor = self._root.open_file(self._parts)
        try:
            self._watch = self._watch or self._watcher.watch(descriptor, self._happened)
            size = os.fstat(descriptor).st_size
            if size == self.now.size:
                return False
            start = self.now.end if self.now.size and size > self.now.size else size
            start, end, window = self._window(descriptor, start)
            self.now = LogNow(size, start, end, window)
            return True
        finally:
            os.close(descriptor)

    def window_from(self, start: int) -> tuple[int, int, bytes]:
        """Where the window of lines from `start` begins and ends, and the window. For a thread."""
        descriptor = self._root.open_file(self._parts)
        try:
            return self._window(descriptor, start)
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """How long it is at this moment. For a thread."""
        descriptor = self._root.open_file(self._parts)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Lets go of the watch."""
        if self._watch:
            self._watch.close()

    def _window(self, descriptor: int, start: int) -> tuple[int, int, bytes]:
        found = LogReader(descriptor, self._indexes, is_over=False).at(start, WINDOW_BYTES)
        return found.start, found.end, msgspec.json.encode(found)

    def _happened(self, _name: str) -> None:
        self.touch()
