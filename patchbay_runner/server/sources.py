"""What one stream has told its client of each thing that it follows, and what there is to tell next."""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import msgspec

from patchbay_runner.server.jsonlines import PIECE_BYTES, Piece, line_start, place_behind, read_piece
from patchbay_runner.server.listfeed import ListFeed
from patchbay_runner.server.logfeed import LogFeed
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Parts, Root
from patchbay_runner.server.runfeed import RunFeed
from patchbay_runner.server.shapes import Log, StepLine
from patchbay_runner.server.simfeed import Growth, SimFeed, SimNow
from patchbay_runner.server.sse import message


class Source(ABC):
    """One thing that a stream follows. `take` gives some messages at a time, nothing when there is nothing new."""

    is_gone = False

    @abstractmethod
    async def take(self) -> list[bytes]:
        """The next messages."""


class ListSource(Source):
    """Changes of the list of runs."""

    def __init__(self, feed: ListFeed) -> None:
        self._feed = feed
        self._version = feed.version

    async def take(self) -> list[bytes]:
        """`runs`, or `ready` again when so much has changed that the list has to be fetched."""
        if self._version == self._feed.version:
            return []
        version = self._feed.version
        changes = self._feed.changes_since(self._version)
        self._version = version
        if changes is None:
            return [message("ready", b"{}")]
        return [message("runs", msgspec.json.encode(changes))]


class RunSource(Source):
    """A run and its sims."""

    def __init__(self, feed: RunFeed) -> None:
        self._feed = feed
        self._head: Any = None
        self._version = 0

    async def take(self) -> list[bytes]:
        """`run` and `sims`."""
        self.is_gone = self._feed.is_gone
        now = self._feed.now
        if now is None or now.version == self._version:
            return []
        messages = [message("run", msgspec.json.encode(now.head))] if now.head is not self._head else []
        if sims := now.sims_since(self._version):
            messages.append(message("sims", msgspec.json.encode(sims)))
        self._head, self._version = now.head, now.version
        return messages


class SimSource(Source):
    """Everything of a sim. `places` are where its two growing files were read up to."""

    def __init__(self, feed: SimFeed, root: Root, places: dict[str, int]) -> None:
        self._feed = feed
        self._root = root
        self.places = places
        self._sent: SimNow | None = None
        self._logs: set[str] = set()

    async def take(self) -> list[bytes]:
        """Its documents as they changed, then the next lines of its files."""
        self.is_gone = self._feed.is_gone
        now = self._feed.now
        if now is None:
            return []
        if now is not self._sent:
            messages = list(self._documents(now, self._sent))
            self._sent = now
            if messages:
                return messages
        for growth in (now.events, now.metrics):
            lines = await self._lines(growth, now.place.parts)
            if lines:
                return [lines]
        return []

    def _documents(self, now: SimNow, sent: SimNow | None) -> Iterator[bytes]:
        if now.sim and (sent is None or now.sim != sent.sim):
            yield message("sim", now.sim)
        if steps := _changed(now.steps, sent.steps if sent else ()):
            yield message("steps", msgspec.json.encode(steps))
        if now.state and (sent is None or now.state != sent.state):
            is_next = sent is not None and now.state_patch and sent.state is now.state_before
            yield message("state_patch", now.state_patch) if is_next else message("state", now.state)
        if logs := [log for log in now.logs if self._is_new(log)]:
            yield message("logs", msgspec.json.encode(logs))
        if sent is not None and now.results != sent.results:
            yield message("results", b"{}")

    def _is_new(self, log: Log) -> bool:
        is_new = log.path not in self._logs
        self._logs.add(log.path)
        return is_new

    async def _lines(self, growth: Growth, parts: Parts) -> bytes | None:
        kind = growth.name.partition(".")[0]
        place = min(self.places[kind], growth.end)
        if place >= growth.end:
            self.places[kind] = place
            return None
        if place == growth.last_start and growth.last_end > place:
            body, self.places[kind] = growth.last, growth.last_end
        else:
            try:
                piece = await asyncio.to_thread(_read, self._root, (*parts, growth.name), place, growth.end)
            except Refusal:
                return None  # it is gone, which the feed will tell
            body, self.places[kind] = piece.body, piece.end
            if piece.end == place:
                return None
        return message(kind, body)


class LogSource(Source):
    """New lines of a log. `places["log"]` is where it was read up to."""

    def __init__(self, feed: LogFeed, places: dict[str, int]) -> None:
        self._feed = feed
        self.places = places
        if places["log"] < 0:
            places["log"] = feed.now.end

    async def take(self) -> list[bytes]:
        """`log` and `log_truncated`."""
        self.is_gone = self._feed.is_gone
        now, place = self._feed.now, self.places["log"]
        if place > now.size and not self.is_gone:
            return await self._beyond(place)
        if place >= now.end or self.is_gone:
            return []
        end, window = now.end, now.window
        if place != now.start:
            try:
                _, end, window = await asyncio.to_thread(self._feed.window_from, place)
            except Refusal:
                self.is_gone = True
                return []
        if end <= place:
            return []
        self.places["log"] = end
        return [message("log", window)]

    async def _beyond(self, place: int) -> list[bytes]:
        """The log was read further than the feed has looked, or is shorter than it was."""
        try:
            size = await asyncio.to_thread(self._feed.size)
        except Refusal:
            self.is_gone = True
            return []
        if place <= size:
            return []
        self.places["log"] = 0
        return [message("log_truncated", msgspec.json.encode({"size": size}))]


def _changed(new: tuple[StepLine, ...], old: tuple[StepLine, ...]) -> tuple[StepLine, ...]:
    if len(old) != len(new):
        return new
    return tuple(step for step, before in zip(new, old, strict=True) if step is not before and step != before)


def _read(root: Root, parts: Parts, place: int, end: int) -> Piece:
    """Lines from `place`, and none behind `end`, which is as far as whoever follows has looked."""
    descriptor = root.open_file(parts)
    try:
        start = line_start(descriptor, place)
        return read_piece(descriptor, start, min(PIECE_BYTES, max(end - start, 1)))
    finally:
        os.close(descriptor)


def place_after(root: Root, parts: Parts, opid: int) -> int:
    """Where the first event after `opid` begins; 0 where there are no events yet."""
    try:
        descriptor = root.open_file(parts)
    except Refusal:
        return 0
    try:
        return place_behind(descriptor, opid)
    finally:
        os.close(descriptor)
