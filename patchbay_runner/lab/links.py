"""The conditions of a lab's links: what is asked of each, and the engine that makes it so.

There is no engine, and nothing in any link's path, before the first condition is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from patchbay_runner.kernel.links import LinkEngine, LinkPort, link_engine
from patchbay_runner.lab.addressing import LAN_BRIDGE, AddressPlan
from patchbay_runner.model.links import Direction, DirectionStatistics, LinkCondition, LinkReport, LinkStatistics
from patchbay_runner.model.topology import Topology

# Of fewer frames the 99th percentile is the latest of them, and one late frame is no overload.
_JUDGED_BY_P99 = 100
# Of fewer still, one late frame may be half of them.
_JUDGED_BY_P50 = 3
_TOLERABLE_MS = 1.0

Both = tuple[LinkCondition | None, LinkCondition | None]
_CLEAR: Both = (None, None)


class LinkConditions:
    """Conditions by the name of their link; those that it begins with wait for `restore`.

    `seed` decides the fate of the n-th packet of each.
    """

    def __init__(self, asked: Mapping[str, Both], seed: int | None = None) -> None:
        self._seed = seed
        self._engine: LinkEngine | None = None
        self._asked = dict(asked)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watched: set[int] = set()

    def watch(self) -> None:
        """From now on the running loop's exception handler learns at once when an emulator has ended."""
        self._loop = asyncio.get_running_loop()
        self._watch_all()

    def ask(self, conditions: Mapping[str, Both]) -> None:
        """Further links and what they begin with, which waits for `restore`."""
        self._asked |= conditions

    def asked(self, link: str) -> Both:
        """The conditions of a link's upload and download."""
        return self._asked.get(link, _CLEAR)

    def set(self, port: LinkPort, condition: LinkCondition | None, direction: Direction) -> None:
        """Impairs a link, or clears it with None. Raises KernelError or LabError, and leaves it as it was."""
        up, down = self.asked(port.name)
        asked = (
            condition if direction in ("up", "both") else up,
            condition if direction in ("down", "both") else down,
        )
        self._apply(port, asked)
        self._asked[port.name] = asked

    def lift(self, port: LinkPort) -> None:
        """Takes the condition off a link that is about to go, and remembers it."""
        if self._engine is not None and port.name in self._asked:
            self._engine.forget(port)

    def lose(self, port: LinkPort) -> None:
        """Loses what is under way on a link that has just gone down."""
        if self._engine is not None and port.name in self._asked:
            self._engine.lose(port)

    def restore(self, port: LinkPort) -> None:
        """Puts the remembered condition on a link that has come in the other's place."""
        if port.name in self._asked:
            self._apply(port, self._asked[port.name])

    def forget(self, port: LinkPort) -> None:
        """The link is gone for good."""
        self._asked.pop(port.name, None)

    def report(self) -> LinkReport:
        """Every link that is or was impaired. Raises EmulatorDied or KernelError."""
        if self._engine is None:
            return LinkReport()
        return LinkReport(self._engine.name, tuple(self._engine.statistics()))

    def close(self) -> None:
        """Ends the engine."""
        for fd in self._watched:
            self._unwatch(fd)
        if self._engine is not None:
            self._engine.close()

    def _apply(self, port: LinkPort, asked: Both) -> None:
        if self._engine is None:
            if all(condition is None or condition.is_clear for condition in asked):
                return
            self._engine = link_engine(self._seed)
        self._engine.apply(port, *asked)
        self._watch_all()

    def _watch_all(self) -> None:
        if self._loop is not None and self._engine is not None:
            for fd in set(self._engine.filenos()) - self._watched:
                self._watched.add(fd)
                self._loop.add_reader(fd, self._ended, fd)

    def _ended(self, fd: int) -> None:
        self._unwatch(fd)
        assert self._engine is not None
        self._engine.check()

    def _unwatch(self, fd: int) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(fd)


def initial_conditions(topology: Topology, plan: AddressPlan) -> dict[str, Both]:
    """What a topology asks of its links, by their names."""
    found: dict[str, Both] = {
        f"{device.name}.{interface.name}": (interface.impair, None)
        for device in topology.devices
        for interface in device.interfaces
        if interface.impair is not None
    }
    for router in topology.routers:
        if router.downlink is not None:
            found[f"{router.name}.{LAN_BRIDGE}"] = None, router.downlink
        if router.uplink is not None and not router.is_isolated:
            found[f"{router.name}.{plan.wan(router).interface}"] = router.uplink, None
    return found


def overload(statistics: Iterable[LinkStatistics]) -> str | None:
    """Which links were not what was asked for because the host was too busy; None if all of them were. Pure."""
    late = [_lateness(link) for link in statistics if _overloaded_ways(link)]
    return f"this host was too busy to emulate its links on time: {'; '.join(late)}" if late else None


def _overloaded_ways(link: LinkStatistics) -> list[DirectionStatistics]:
    return [
        way
        for way in (link.up, link.down)
        if way is not None
        and way.overloaded
        and (
            way.overrun
            or way.packets >= _JUDGED_BY_P99
            or (way.packets >= _JUDGED_BY_P50 and way.late_p50_ms > _TOLERABLE_MS)
        )
    ]


def _lateness(link: LinkStatistics) -> str:
    ways = _overloaded_ways(link)
    p99_ms, worst_ms = max(way.late_p99_ms for way in ways), max(way.late_max_ms for way in ways)
    overrun = sum(way.overrun for way in ways)
    lost = f", {overrun} frames lost" if overrun else ""
    return f"{link.name} was {p99_ms:.1f} ms late at p99, {worst_ms:.1f} ms at worst{lost}"
