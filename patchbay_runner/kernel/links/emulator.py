"""The userspace link engine: it works on every kernel, and the same seed gives the n-th packet the same fate."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.links import splice as splicing
from patchbay_runner.kernel.links.engine import LinkPort, Way, is_wanted
from patchbay_runner.kernel.links.relay import RelayCounters
from patchbay_runner.kernel.links.shard import Shard
from patchbay_runner.kernel.links.splice import Splice
from patchbay_runner.model.links import DirectionStatistics, LinkCondition, LinkStatistics

_WAYS: tuple[Way, ...] = ("up", "down")
_SUMMED = (
    "packets",
    "bytes",
    "dropped",
    "lost",
    "overflowed",
    "reordered",
    "duplicated",
    "corrupted",
    "overrun",
    "refused",
    "delay_total_ms",
)


@dataclass(slots=True)
class _Relayed:
    """A direction with its helper pair and sockets. They stay while it is clear, out of the frames' way, because the
    kernel takes tens of milliseconds to close a packet socket or to remove a link. `condition` None is clear."""

    number: int
    splice: Splice
    shard: Shard
    latest: LinkCondition
    condition: LinkCondition | None


@dataclass(slots=True)
class _Direction:
    """A direction that is or was impaired; `past` is what was counted at a port that is gone."""

    past: DirectionStatistics = field(default_factory=DirectionStatistics)
    relayed: _Relayed | None = None


@dataclass(slots=True)
class _Link:
    directions: dict[Way, _Direction] = field(default_factory=dict)


class LinkEmulator:
    """Impairs links by relaying their frames, in at most `processes` processes of its own (None: one a core).

    They are forked when the first link needs them, so the caller must be single-threaded. `fileno`s tell of their end.
    """

    name = "emulator"

    def __init__(self, seed: int = 0, processes: int | None = None) -> None:
        self._seed = seed
        self._most_shards = processes or len(os.sched_getaffinity(0))
        self._shards: list[Shard] = []
        self._links: dict[str, _Link] = {}
        self._numbers = 0

    def apply(self, port: LinkPort, up: LinkCondition | None, down: LinkCondition | None) -> None:
        """See `LinkEngine`. Frames on their way keep their delay through a change; lifting a condition sends them."""
        if is_wanted(up) and port.far_netns is None:
            raise LabError(f"{port.port} has no upload to impair", port.node)
        wishes: tuple[tuple[Way, LinkCondition | None], ...] = (("up", up), ("down", down))
        for way, condition in wishes:
            direction = self._links.get(port.name, _Link()).directions.get(way, _Direction())
            if condition is None or condition.is_clear:
                _lift(direction)
            elif direction.relayed is None:
                direction.relayed = self._start(port, way, condition)
                self._links.setdefault(port.name, _Link()).directions[way] = direction
            elif condition != direction.relayed.condition:
                _change(direction.relayed, condition)

    def lose(self, port: LinkPort) -> None:
        """See `LinkEngine`."""
        for direction in self._links.get(port.name, _Link()).directions.values():
            if direction.relayed is not None:
                direction.relayed.shard.lose(direction.relayed.number)

    def forget(self, port: LinkPort) -> None:
        """See `LinkEngine`."""
        for direction in self._links.get(port.name, _Link()).directions.values():
            if (relayed := direction.relayed) is not None:
                _lift(direction)
                counters = relayed.shard.detach(relayed.number)
                splicing.remove(relayed.splice)
                direction.past = _sum(direction.past, _as_statistics(counters, relayed.latest))
                direction.relayed = None

    def statistics(self) -> list[LinkStatistics]:
        """See `LinkEngine`."""
        counters = {number: found for shard in self._shards for number, found in shard.counters().items()}
        return [
            LinkStatistics(name, *(_direction_statistics(link.directions.get(way), counters) for way in _WAYS))
            for name, link in self._links.items()
        ]

    def filenos(self) -> list[int]:
        """See `LinkEngine`."""
        return [shard.fileno() for shard in self._shards]

    def check(self) -> None:
        """See `LinkEngine`."""
        for shard in self._shards:
            shard.check()

    def close(self) -> None:
        """Ends the processes."""
        for shard in self._shards:
            shard.close()
        self._shards.clear()

    def _start(self, port: LinkPort, way: Way, condition: LinkCondition) -> _Relayed:
        number = self._numbers
        self._numbers += 1
        shard = self._least_loaded()
        spliced, receiving, sending = splicing.splice(port, way, number)
        try:
            with receiving, sending:
                shard.attach(number, f"{port.name}/{way}", self._seed, condition, (receiving, sending))
            splicing.divert(spliced)
        except LabError:
            splicing.remove(spliced)
            raise
        return _Relayed(number, spliced, shard, condition, condition)

    def _least_loaded(self) -> Shard:
        if len(self._shards) < self._most_shards:
            self._shards.append(Shard())
            return self._shards[-1]
        return min(self._shards, key=lambda shard: len(shard.lines))


def _change(relayed: _Relayed, condition: LinkCondition) -> None:
    relayed.shard.change(relayed.number, condition)
    if relayed.condition is None:
        splicing.divert(relayed.splice)
    relayed.condition = relayed.latest = condition


def _lift(direction: _Direction) -> None:
    relayed = direction.relayed
    if relayed is not None and relayed.condition is not None:
        splicing.restore(relayed.splice)
        relayed.condition = None
        relayed.shard.pause(relayed.number)


def _direction_statistics(
    direction: _Direction | None, counters: Mapping[int, RelayCounters]
) -> DirectionStatistics | None:
    if direction is None:
        return None
    relayed = direction.relayed
    if relayed is None:
        return direction.past
    return _sum(direction.past, _as_statistics(counters[relayed.number], relayed.latest))


def _as_statistics(counters: RelayCounters, condition: LinkCondition) -> DirectionStatistics:
    line, lateness = counters.line, counters.lateness
    return DirectionStatistics(
        **msgspec.structs.asdict(line),
        dropped=line.lost + line.overflowed + counters.overrun + counters.refused,
        overrun=counters.overrun,
        refused=counters.refused,
        late_p50_ms=lateness.p50_ms,
        late_p99_ms=lateness.p99_ms,
        late_max_ms=lateness.max_ms,
        overloaded=bool(counters.overrun) or not lateness.is_tolerable(condition.latency_ms),
    )


def _sum(past: DirectionStatistics, now: DirectionStatistics) -> DirectionStatistics:
    """Both together: counts added, of peaks and lateness the worse."""
    return msgspec.structs.replace(
        now,
        **{name: getattr(past, name) + getattr(now, name) for name in _SUMMED},
        queue_peak_bytes=max(past.queue_peak_bytes, now.queue_peak_bytes),
        late_p50_ms=max(past.late_p50_ms, now.late_p50_ms),
        late_p99_ms=max(past.late_p99_ms, now.late_p99_ms),
        late_max_ms=max(past.late_max_ms, now.late_max_ms),
        overloaded=past.overloaded or now.overloaded,
    )
