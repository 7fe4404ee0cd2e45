"""`GET /api/stream`: one connection for everything that a page shows."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import msgspec
from sse_starlette.sse import EventSourceResponse

from patchbay_runner import __version__
from patchbay_runner.server.hub import MOST_STREAMS, Hub
from patchbay_runner.server.places import find_sim
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Parts
from patchbay_runner.server.runs import EVENTS_NAME
from patchbay_runner.server.sources import ListSource, LogSource, RunSource, SimSource, Source, place_after
from patchbay_runner.server.sse import message, numbered

_PING_S = 15
# A client that takes nothing for so long is let go; it comes again and goes on where it was.
_PATIENCE_S = 30.0
_CURSOR = re.compile(r"e(\d{1,18})m(\d{1,18})l(-1|\d{1,18})", re.ASCII)


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to follow, and from where."""

    runs: bool = False
    run: str | None = None
    sim: str | None = None
    after: int | None = None
    metrics_after: int | None = None
    log: str | None = None
    log_after: int | None = None


class _Following(NamedTuple):
    """What a stream follows, and where it is; an empty `log` is none."""

    query: StreamQuery
    log: Parts
    places: dict[str, int]


async def open_stream(hub: Hub, query: StreamQuery, log: Parts, last_event_id: str | None) -> EventSourceResponse:
    """The reply. Raises Refusal when there is nothing to follow."""
    if query.sim is not None and query.run is None:
        raise Refusal(400, "sim needs run")
    if query.log is not None and query.sim is None:
        raise Refusal(400, "log needs sim")
    if hub.streams >= MOST_STREAMS or hub.closing.is_set():
        raise Refusal(503, "too many streams at once", {"Retry-After": "5"})
    places = await asyncio.to_thread(_places, hub, query, log, last_event_id)
    return EventSourceResponse(_messages(hub, _Following(query, log, places)), ping=_PING_S, send_timeout=_PATIENCE_S)


def _places(hub: Hub, query: StreamQuery, log: Parts, last_event_id: str | None) -> dict[str, int]:
    """Where the stream goes on, or begins. Raises Refusal when there is no such run, sim or log."""
    places = {
        "events": 0,
        "metrics": query.metrics_after or 0,
        "log": -1 if query.log_after is None else query.log_after,
    }
    if query.run is None:
        return places
    if query.sim is None:
        hub.catalog.get(query.run, is_fresh=True)
        return places
    place = find_sim(hub.catalog, query.run, query.sim)
    if log:
        os.close(hub.catalog.root.open_file((*place.parts, *log)))
    if query.after is not None:
        places["events"] = place_after(hub.catalog.root, (*place.parts, EVENTS_NAME), query.after)
    cursor = _CURSOR.fullmatch(last_event_id or "")
    if cursor:
        places.update(zip(("events", "metrics", "log"), map(int, cursor.groups()), strict=True))
    return places


async def _messages(hub: Hub, follow: _Following) -> AsyncIterator[bytes]:
    """`ready`, then whatever there is to tell, for as long as anybody listens."""
    hub.streams += 1
    wake = asyncio.Event()
    closing = asyncio.create_task(_wake_at_close(hub, wake))
    try:
        async with AsyncExitStack() as stack:
            try:
                sources = await _follow(hub, follow, stack, wake)
            except Refusal:
                yield message("gone", b"{}")
                return
            yield message("ready", msgspec.json.encode({"version": __version__}))
            while not hub.closing.is_set():
                told = False
                for source in sources:
                    while messages := await source.take():
                        told = True
                        yield numbered(messages, _cursor(follow.places))
                    if source.is_gone:
                        yield message("gone", b"{}")
                        return
                if not told:
                    await wake.wait()
                    wake.clear()
    finally:
        hub.streams -= 1
        closing.cancel()


async def _follow(hub: Hub, follow: _Following, stack: AsyncExitStack, wake: asyncio.Event) -> list[Source]:
    query, sources = follow.query, list[Source]()
    if query.runs:
        hub.list.followers.add(wake)
        stack.callback(hub.list.followers.discard, wake)
        sources.append(ListSource(hub.list))
    if query.run is not None:
        sources.append(RunSource(await stack.enter_async_context(hub.follow_run(query.run, wake))))
    if query.run is not None and query.sim is not None:
        feed = await stack.enter_async_context(hub.follow_sim(query.run, query.sim, wake))
        sources.append(SimSource(feed, hub.catalog.root, follow.places))
        if follow.log:
            log_feed = await stack.enter_async_context(hub.follow_log(query.run, query.sim, follow.log, wake))
            sources.append(LogSource(log_feed, follow.places))
    return sources


async def _wake_at_close(hub: Hub, wake: asyncio.Event) -> None:
    await hub.closing.wait()
    wake.set()


def _cursor(places: dict[str, int]) -> str:
    return f"e{places['events']}m{places['metrics']}l{places['log']}"
