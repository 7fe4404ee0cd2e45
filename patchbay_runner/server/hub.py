"""Everything that is followed at the moment, each thing once however many follow it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from patchbay_runner.server.catalog import Catalog
from patchbay_runner.server.feeds import Feed
from patchbay_runner.server.lineindex import LineIndexes
from patchbay_runner.server.listfeed import ListFeed
from patchbay_runner.server.logfeed import LogFeed
from patchbay_runner.server.places import find_sim
from patchbay_runner.server.rooted import Parts
from patchbay_runner.server.runfeed import RunFeed
from patchbay_runner.server.simfeed import SimFeed
from patchbay_runner.server.watching import Watcher

# Each holds a connection and its buffers.
MOST_STREAMS = 1000

_AnyFeed = TypeVar("_AnyFeed", bound=Feed)


class Hub:
    """Belongs to the running loop."""

    def __init__(self, catalog: Catalog, *, may_use_inotify: bool = True) -> None:
        self.catalog = catalog
        self._loop = asyncio.get_running_loop()
        self.indexes = LineIndexes()
        self.watcher = Watcher(may_use_inotify=may_use_inotify)
        self.list = ListFeed(catalog, self.watcher)
        self.closing = asyncio.Event()
        self.streams = 0
        self._feeds: dict[Hashable, asyncio.Task[Any]] = {}
        self._counts: dict[Hashable, int] = {}

    def refresh(self, parts: Parts) -> None:
        """Something was put below `parts`, or taken away there. From any thread."""
        self._loop.call_soon_threadsafe(self.list.refresh, parts)

    @asynccontextmanager
    async def follow_run(self, name: str, wake: asyncio.Event) -> AsyncIterator[RunFeed]:
        """A run; sets `wake` when it changes. Raises Refusal when there is none."""
        async with self._follow(("run", name), lambda: RunFeed(self.catalog, self.watcher, name), wake) as feed:
            yield feed

    @asynccontextmanager
    async def follow_sim(self, run: str, name: str, wake: asyncio.Event) -> AsyncIterator[SimFeed]:
        """A sim of a run."""
        make = lambda: SimFeed(self.catalog, self.watcher, run, name)  # noqa: E731 - two lines would say the same
        async with self._follow(("sim", run, name), make, wake) as feed:
            yield feed

    @asynccontextmanager
    async def follow_log(self, run: str, sim: str, path: Parts, wake: asyncio.Event) -> AsyncIterator[LogFeed]:
        """A log of a sim."""
        place = await asyncio.to_thread(find_sim, self.catalog, run, sim)
        parts = (*place.parts, *path)
        make = lambda: LogFeed(self.catalog.root, self.watcher, self.indexes, parts)  # noqa: E731
        async with self._follow(("log", parts), make, wake) as feed:
            yield feed

    async def close(self) -> None:
        """Ends all streams and watches."""
        self.closing.set()
        for key in tuple(self._feeds):
            await self._drop(key)
        await self.list.stop()
        self.watcher.close()

    @asynccontextmanager
    async def _follow(
        self, key: Hashable, make: Callable[[], _AnyFeed], wake: asyncio.Event
    ) -> AsyncIterator[_AnyFeed]:
        task = self._feeds.get(key)
        if task is None or (task.done() and (task.exception() or task.result().is_gone)):
            task = self._feeds[key] = asyncio.create_task(_started(make()))
            self._counts[key] = 0
        self._counts[key] += 1
        try:
            feed: _AnyFeed = await asyncio.shield(task)
            feed.followers.add(wake)
            try:
                yield feed
            finally:
                feed.followers.discard(wake)
        finally:
            if self._feeds.get(key) is task:
                self._counts[key] -= 1
                if not self._counts[key]:
                    await self._drop(key)
            elif not (task.cancelled() or task.exception()) and not task.result().followers:
                await task.result().stop()  # it was replaced when it was gone

    async def _drop(self, key: Hashable) -> None:
        task = self._feeds.pop(key, None)
        self._counts.pop(key, None)
        if task is None:
            return
        if not task.done():
            task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(result, Feed):
            await result.stop()


async def _started(feed: _AnyFeed) -> _AnyFeed:
    try:
        await feed.start()
    except BaseException:
        await feed.stop()
        raise
    return feed
