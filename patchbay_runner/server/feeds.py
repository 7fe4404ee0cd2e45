"""What changes, looked at once for everybody who follows it."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from patchbay_runner.server.refusals import Refusal

log = logging.getLogger(__name__)

# However much happens, nothing is looked at more often.
INTERVAL_S = 0.1


class Feed(ABC):
    """Something that is followed. `read` looks at it, in a thread; those who follow are woken when it says so."""

    def __init__(self) -> None:
        self.followers: set[asyncio.Event] = set()
        self.is_gone = False
        self._loop = asyncio.get_running_loop()
        self._is_touched = False
        self._next_s = 0.0
        self._task: asyncio.Task[None] | None = None

    @abstractmethod
    def read(self) -> bool:
        """Looks; returns whether anything has changed. Raises Refusal when there is nothing to look at any more."""

    def touch(self) -> None:
        """Something may have changed."""
        self._is_touched = True
        if self._task is None and not self.is_gone:
            self._task = self._loop.create_task(self._look())

    async def start(self) -> None:
        """Looks for the first time. Raises Refusal."""
        await asyncio.to_thread(self._read_open)

    async def stop(self) -> None:
        """Ends it."""
        self.is_gone = True
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Lets go of what it watches; may be called again."""

    def wake(self) -> None:
        """Tells those who follow."""
        for follower in self.followers:
            follower.set()

    async def _look(self) -> None:
        try:
            while self._is_touched and not self.is_gone:
                await asyncio.sleep(max(0.0, self._next_s - self._loop.time()))
                self._is_touched = False
                if await self._read_aside():
                    self.wake()
                self._next_s = self._loop.time() + INTERVAL_S
        finally:
            self._task = None

    def _read_open(self) -> bool:
        """Threads cannot be cancelled: what one opens after the end is closed by it."""
        try:
            return self.read()
        finally:
            if self.is_gone:
                self.close()

    async def _read_aside(self) -> bool:
        try:
            return await asyncio.to_thread(self._read_open)
        except Refusal:
            self.is_gone = True
            return True
        except Exception:
            self.is_gone = True  # whoever follows comes again, and finds out
            self.wake()
            log.exception("cannot follow %r", self)
            raise
