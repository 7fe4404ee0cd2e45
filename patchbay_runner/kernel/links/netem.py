"""The kernel's link engine: netem, with tbf below it for a rate, at the two ends of a link's cable."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from errno import ENOENT, EOPNOTSUPP

import msgspec

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel.links import tc
from patchbay_runner.kernel.links.engine import LinkPort, is_wanted
from patchbay_runner.kernel.links.offloads import keep_segments_whole
from patchbay_runner.kernel.namespaces import entered, new_network_namespace
from patchbay_runner.kernel.netlink import LOOPBACK_IFINDEX, NetlinkSocket
from patchbay_runner.model.links import DirectionStatistics, LinkCondition, LinkStatistics

_ABSENT = (ENOENT, EOPNOTSUPP)


def has_netem() -> bool:
    """Whether this kernel has netem and tbf, loading their modules if it can. Raises KernelError for anything else."""
    condition = LinkCondition(latency_ms=1, rate_kbit=1000)
    batch = [tc.set_netem(LOOPBACK_IFINDEX, condition), tc.set_tbf(LOOPBACK_IFINDEX, condition)]
    netns = new_network_namespace()
    try:
        with NetlinkSocket.inside(netns) as sock:
            sock.batch(batch)
    except KernelError as error:
        if error.errno not in _ABSENT:
            raise
        return False
    finally:
        os.close(netns)
    return True


class _End(msgspec.Struct, frozen=True):
    """The interface whose egress is one direction of a link."""

    node: str
    netns: int
    interface: str
    ifindex: int


@dataclass(slots=True)
class _Direction:
    end: _End | None
    condition: LinkCondition | None = None
    past: DirectionStatistics = field(default_factory=DirectionStatistics)
    was_impaired: bool = False


@dataclass(slots=True)
class _Link:
    up: _Direction
    down: _Direction


class NetemEngine:
    """Impairs a link's upload at the member's own interface and its download at the port."""

    name = "netem"

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._links: dict[str, _Link] = {}

    def apply(self, port: LinkPort, up: LinkCondition | None, down: LinkCondition | None) -> None:
        """See `LinkEngine`. Lifting a condition loses what is on its way."""
        link = self._links.get(port.name) or _Link(_Direction(None), _Direction(None))
        link.up.end, link.down.end = _far_end(port), _near_end(port)
        if is_wanted(up) and link.up.end is None:
            raise LabError(f"{port.port} has no upload to impair", port.node)
        self._set(f"{port.name}/up", link.up, up)
        self._set(f"{port.name}/down", link.down, down)
        if link.up.was_impaired or link.down.was_impaired:
            self._links[port.name] = link

    def forget(self, port: LinkPort) -> None:
        """See `LinkEngine`."""
        self.apply(port, None, None)
        if link := self._links.get(port.name):
            link.up.end = link.down.end = None

    def statistics(self) -> list[LinkStatistics]:
        """See `LinkEngine`."""
        return [
            LinkStatistics(name, _statistics(link.up), _statistics(link.down)) for name, link in self._links.items()
        ]

    def filenos(self) -> list[int]:
        """None: the kernel does it all."""
        return []

    def check(self) -> None:
        """See `LinkEngine`."""

    def close(self) -> None:
        """Nothing is held: the namespaces take their qdiscs with them."""

    def _set(self, name: str, direction: _Direction, condition: LinkCondition | None) -> None:
        if condition is None or condition.is_clear:
            self._lift(direction)
            return
        end, old = direction.end, direction.condition
        assert end is not None
        with entered(end.netns), NetlinkSocket(end.node) as sock:
            batch = [tc.set_netem(end.ifindex, condition, self._seed_of(name))]
            if condition.rate_kbit:
                batch.append(tc.set_tbf(end.ifindex, condition))
            elif old is not None and old.rate_kbit:
                batch.append(tc.delete_tbf(end.ifindex))
            sock.batch(batch)
            keep_segments_whole(end.interface, _passes_segments_whole(condition))
        direction.condition = condition
        direction.was_impaired = True

    def _lift(self, direction: _Direction) -> None:
        end = direction.end
        if direction.condition is None or end is None:
            return
        direction.past = _statistics(direction) or direction.past
        with entered(end.netns), NetlinkSocket(end.node) as sock:
            sock.request(tc.delete_root(end.ifindex))
            keep_segments_whole(end.interface, whole=True)
        direction.condition = None

    def _seed_of(self, name: str) -> int | None:
        """A seed of its own for every direction, the same in every run."""
        if self._seed is None:
            return None
        return int.from_bytes(hashlib.blake2b(f"{self._seed}/{name}".encode(), digest_size=8).digest())


def _near_end(port: LinkPort) -> _End:
    return _End(port.node, port.netns, port.port, port.ifindex)


def _far_end(port: LinkPort) -> _End | None:
    if port.far_netns is None:
        return None
    return _End(port.far_node, port.far_netns, port.far_interface, port.far_ifindex)


def _statistics(direction: _Direction) -> DirectionStatistics | None:
    """What the qdiscs have counted: netem's own counters, plus what the bucket below it had no room for."""
    if not direction.was_impaired:
        return None
    end = direction.end
    if direction.condition is None or end is None:
        return direction.past
    with NetlinkSocket.inside(end.netns, end.node) as sock:
        found = {qdisc.kind: qdisc for qdisc in tc.dump_qdiscs(sock, end.ifindex)}
    netem = found["netem"]
    past = direction.past
    # netem takes back the packets that its child refuses, so that its own drops hold those as well.
    return DirectionStatistics(
        packets=past.packets + netem.packets + netem.drops,
        bytes=past.bytes + netem.bytes,
        dropped=past.dropped + netem.drops,
        overflowed=past.overflowed + (found["tbf"].drops if "tbf" in found else 0),
        queue_peak_bytes=max(past.queue_peak_bytes, netem.backlog_bytes),
    )


def _passes_segments_whole(condition: LinkCondition) -> bool:
    """Whether segments may cross a link uncut: only where no fate befalls a single frame, and none takes its time."""
    return not (
        condition.loss_pct
        or condition.rate_kbit
        or condition.reorder_pct
        or condition.duplicate_pct
        or condition.corrupt_pct
    )
