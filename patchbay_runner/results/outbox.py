"""Sends lines through a non-blocking pipe without ever waiting for a slow reader."""

from __future__ import annotations

import asyncio
import os
import select
import time
from collections import deque

# What is kept for a reader that does not read. Past it the outbox says that it is full, and its user holds back.
BACKLOG_BYTES = 8 << 20
_BATCH_BYTES = 256 << 10
# Each write wakes the parent, which then competes with the program that is just being started.
_GATHER_S = 0.005


class Outbox:
    """Lines waiting for a pipe. A reader that has gone away ends the sending, not the sender."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._lines: deque[bytes | memoryview] = deque()
        self._bytes = 0
        self._scheduled: asyncio.AbstractEventLoop | None = None
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        return self._bytes >= BACKLOG_BYTES

    def send(self, line: bytes) -> None:
        """Queues a line, newline included. On an event loop the lines of a few milliseconds leave in one write."""
        if self.is_closed:
            return
        self._lines.append(line)
        self._bytes += len(line)
        loop = _running_loop()
        if loop is None:
            self.pump()
        elif self._scheduled is not loop:
            self._scheduled = loop
            loop.call_later(_GATHER_S, self._pump_on, loop)

    def pump(self) -> None:
        """Writes what the pipe takes now."""
        while self._lines and not self.is_closed:
            batch = self._take_batch()
            try:
                written = os.write(self._descriptor, batch)
            except BlockingIOError:
                written = 0
            except BrokenPipeError:
                self._close()
                return
            if written < len(batch):
                self._lines.appendleft(memoryview(batch)[written:])
                self._bytes += len(batch) - written
                return

    def drain(self, patience_s: float) -> None:
        """Writes everything, giving up only when the reader took nothing for `patience_s`."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        last_progress, left = time.monotonic(), self._bytes
        while self._lines and not self.is_closed and time.monotonic() - last_progress < patience_s:
            poller.poll(100)
            self.pump()
            if self._bytes != left:
                last_progress, left = time.monotonic(), self._bytes

    def _pump_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pump()
        if self._lines:
            loop.add_writer(self._descriptor, self._pump_waiting, loop)
        else:
            self._scheduled = None

    def _pump_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        self.pump()
        if not self._lines:
            loop.remove_writer(self._descriptor)
            self._scheduled = None

    def _take_batch(self) -> bytes | memoryview:
        parts: list[bytes | memoryview] = []
        size = 0
        while self._lines and (not parts or size + len(self._lines[0]) <= _BATCH_BYTES):
            parts.append(self._lines.popleft())
            size += len(parts[-1])
        self._bytes -= size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _close(self) -> None:
        self.is_closed = True
        self._lines.clear()
        self._bytes = 0


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
