"""What a worker's thread reports of a sim, until home has fetched it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque

from patchbay_runner.cluster.orders import PIECE_BYTES, Batch, Frame

# The thread waits when home is so far behind, and with it, through the pipes, the sandbox.
LIMIT_BYTES = 8 * PIECE_BYTES
_BATCH_BYTES = 4 * PIECE_BYTES
# Home asks all the time. When it did not for so long, it is gone, or cannot reach this worker.
ABANDONED_S = 60.0


class Abandoned(Exception):
    """Nobody asks any more."""


class Mailbox:
    """Filled by one thread, emptied by calls on the worker's event loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._given = Batch(0, ())
        self._asked_s = time.monotonic()
        self._is_asking = False
        self._wake: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    @property
    def is_abandoned(self) -> bool:
        return not self._is_asking and time.monotonic() - self._asked_s > ABANDONED_S

    def put(self, kind: str, data: bytes = b"") -> None:
        """Adds a frame, waiting for room. Raises Abandoned."""
        with self._changed:
            while self._bytes >= LIMIT_BYTES:
                if self.is_abandoned:
                    raise Abandoned
                self._changed.wait(1.0)
            self._frames.append(Frame(kind, data))
            self._bytes += len(data)
            if self._wake:
                loop, event = self._wake
                loop.call_soon_threadsafe(event.set)

    async def collect(self, confirmed: int, patience_s: float) -> Batch:
        """What is there, waiting for something so long; the last batch again when home has not confirmed it."""
        if confirmed < self._given.number:
            return self._given
        event = asyncio.Event()
        self._is_asking = True
        with self._changed:
            self._wake = (asyncio.get_running_loop(), event)
            if self._frames:
                event.set()
        try:
            async with asyncio.timeout(patience_s):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._is_asking, self._asked_s = False, time.monotonic()
        if confirmed < self._given.number:  # another call, whose answer was lost, was quicker
            return self._given
        return self._take(confirmed + 1)

    def _take(self, number: int) -> Batch:
        frames: list[Frame] = []
        size = 0
        with self._changed:
            self._wake = None
            while self._frames and size < _BATCH_BYTES:
                frames.append(self._frames.popleft())
                size += len(frames[-1].data)
            self._bytes -= size
            self._changed.notify_all()
            self._given = Batch(number, tuple(frames))
        return self._given
