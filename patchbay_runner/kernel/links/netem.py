"""The kernel's link engine: qdiscs around netem, at the two ends of a link's cable."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import struct
from dataclasses import dataclass, field
from errno import ENOENT, EOPNOTSUPP

import msgspec

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel.links import tc
from patchbay_runner.kernel.links.engine import LinkPort, Way, is_wanted
from patchbay_runner.kernel.namespaces import entered, new_network_namespace
from patchbay_runner.kernel.netlink import LOOPBACK_IFINDEX, NetlinkSocket
from patchbay_runner.model.links import DirectionStatistics, LinkCondition, LinkStatistics

_ABSENT = (ENOENT, EOPNOTSUPP)
_ETHERNET_MTU = 1_500
_SIOCGIFMTU = 0x8921
# netem adds and subtracts it in 32 bits with a sign, and takes less than what is asked for without a word.
_MOST_JITTER_MS = (2**31 - 1) / 1e6
_WAYS: tuple[Way, ...] = ("up", "down")
_COUNTED = ("packets", "bytes", "dropped", "lost", "overflowed")


def has_netem() -> bool:
    """Whether this kernel has netem and tbf, loading their modules if it can. Raises KernelError for anything else."""
    condition = LinkCondition(latency_ms=1, rate_kbit=1000)
    netns = new_network_namespace()
    try:
        with NetlinkSocket.inside(netns) as sock:
            sock.batch(tc.set_tree(LOOPBACK_IFINDEX, condition, tc.longest_frame_bytes(_ETHERNET_MTU)))
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
    """A direction that is or was impaired.

    Its qdiscs stay while it is clear, `condition` None, because to take them away would lose packets; `end` None is a
    port that is gone. Counted are `past`, and what the qdiscs counted since `before` if it is impaired.
    """

    end: _End | None = None
    condition: LinkCondition | None = None
    past: DirectionStatistics = field(default_factory=DirectionStatistics)
    before: DirectionStatistics = field(default_factory=DirectionStatistics)


class NetemEngine:
    """Impairs a link's upload at the member's own interface and its download at the port."""

    name = "netem"

    def __init__(self, seed: int | None = None) -> None:
        self._seed = seed
        self._links: dict[str, dict[Way, _Direction]] = {}

    def apply(self, port: LinkPort, up: LinkCondition | None, down: LinkCondition | None) -> None:
        """See `LinkEngine`. Packets on their way keep their delay through a change; lifting a condition lets new ones
        overtake them. The first condition of a link loses what is sent in the moment that the kernel takes to set it.
        """
        if is_wanted(up) and port.far_netns is None:
            raise LabError(f"{port.port} has no upload to impair", port.node)
        self._set(port, "up", up)
        self._set(port, "down", down)

    def lose(self, port: LinkPort) -> None:
        """See `LinkEngine`. The kernel has emptied the queues of interfaces that went down."""

    def forget(self, port: LinkPort) -> None:
        """See `LinkEngine`."""
        for direction in self._links.get(port.name, {}).values():
            if (end := direction.end) is not None:
                direction.past = _total(direction, _read([end]))
                with NetlinkSocket.inside(end.netns, end.node) as sock:
                    sock.request(tc.delete_root(end.ifindex))
                direction.end = direction.condition = None

    def statistics(self) -> list[LinkStatistics]:
        """See `LinkEngine`."""
        impaired = (direction for link in self._links.values() for direction in link.values() if direction.condition)
        counted = _read([direction.end for direction in impaired if direction.end])
        return [
            LinkStatistics(name, *(_statistics(link.get(way), counted) for way in _WAYS))
            for name, link in self._links.items()
        ]

    def filenos(self) -> list[int]:
        """None: the kernel does it all."""
        return []

    def check(self) -> None:
        """See `LinkEngine`."""

    def close(self) -> None:
        """Nothing is held: the namespaces take their qdiscs with them."""

    def _set(self, port: LinkPort, way: Way, condition: LinkCondition | None) -> None:
        direction = self._links.get(port.name, {}).get(way)
        if condition is None or condition.is_clear:
            if direction is not None and direction.condition is not None:
                _lift(direction)
        elif direction is None or condition != direction.condition:
            direction = direction or _Direction()
            self._impair(direction, port, way, condition)
            self._links.setdefault(port.name, {})[way] = direction

    def _impair(self, direction: _Direction, port: LinkPort, way: Way, condition: LinkCondition) -> None:
        if condition.jitter_ms > _MOST_JITTER_MS:
            raise LabError(f"the kernel's jitter is at most {_MOST_JITTER_MS:.0f} ms", port.node)
        end = direction.end or _end(port, way)
        if direction.condition is None:
            direction.before = _read([end])[end] if direction.end else DirectionStatistics()
        try:
            _set_qdiscs(end, condition, self._seed_of(f"{port.name}/{way}"))
        except KernelError:
            _undo(end, direction)
            raise
        direction.end, direction.condition = end, condition

    def _seed_of(self, name: str) -> int | None:
        """A seed of its own for every direction, the same in every run."""
        if self._seed is None:
            return None
        return int.from_bytes(hashlib.blake2b(f"{self._seed}/{name}".encode(), digest_size=8).digest())


def _end(port: LinkPort, way: Way) -> _End:
    if way == "down":
        return _End(port.node, port.netns, port.port, port.ifindex)
    assert port.far_netns is not None
    return _End(port.far_node, port.far_netns, port.far_interface, port.far_ifindex)


def _lift(direction: _Direction) -> None:
    end = direction.end
    assert end is not None
    direction.past = _total(direction, _read([end]))
    _set_qdiscs(end, LinkCondition(), None)
    direction.condition = None


def _undo(end: _End, direction: _Direction) -> None:
    """After a change that was refused in part."""
    if direction.end is not None:
        _set_qdiscs(end, direction.condition or LinkCondition(), None)
        return
    with NetlinkSocket.inside(end.netns, end.node) as sock:
        if (end.ifindex, tc.CUTTER_HANDLE) in tc.dump_qdiscs(sock):
            sock.request(tc.delete_root(end.ifindex))


def _set_qdiscs(end: _End, condition: LinkCondition, seed: int | None) -> None:
    with entered(end.netns), NetlinkSocket(end.node) as sock:
        sock.batch(tc.set_tree(end.ifindex, condition, tc.longest_frame_bytes(_mtu(end)), seed))


def _mtu(end: _End) -> int:
    """Of an interface in the current network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            answer = fcntl.ioctl(sock, _SIOCGIFMTU, struct.pack("16s24x", end.interface.encode()))
        except OSError as error:
            raise KernelError(f"read the MTU of {end.interface}", error.errno or 0, end.node) from error
    mtu: int = struct.unpack_from("=16xi", answer)[0]
    return mtu


def _statistics(direction: _Direction | None, counted: dict[_End, DirectionStatistics]) -> DirectionStatistics | None:
    return None if direction is None else _total(direction, counted)


def _total(direction: _Direction, counted: dict[_End, DirectionStatistics]) -> DirectionStatistics:
    if direction.condition is None or direction.end is None:
        return direction.past
    now, past, before = counted[direction.end], direction.past, direction.before
    # The kernel keeps no peak: the queue as it was found, every time that somebody has asked, is all there is.
    peak = max(past.queue_peak_bytes, now.queue_peak_bytes)
    direction.past = msgspec.structs.replace(past, queue_peak_bytes=peak)
    counts = {name: getattr(past, name) + getattr(now, name) - getattr(before, name) for name in _COUNTED}
    return DirectionStatistics(**counts, queue_peak_bytes=peak)


def _read(ends: list[_End]) -> dict[_End, DirectionStatistics]:
    """What the qdiscs have counted since they are there. The kernel tells all of a namespace at once."""
    found = {}
    for netns, node in {end.netns: end.node for end in ends}.items():
        with NetlinkSocket.inside(netns, node) as sock:
            qdiscs = tc.dump_qdiscs(sock)
        for end in ends:
            if end.netns == netns:
                found[end] = _counted(qdiscs[end.ifindex, tc.NETEM_HANDLE], qdiscs[end.ifindex, tc.RATE_HANDLE])
    return found


def _counted(netem: tc.QdiscCounters, rate: tc.QdiscCounters) -> DirectionStatistics:
    # netem's drops hold those of the queue below it.
    return DirectionStatistics(
        packets=netem.packets + netem.drops,
        bytes=netem.bytes,
        dropped=netem.drops,
        lost=netem.drops - rate.drops,
        overflowed=rate.drops,
        queue_peak_bytes=rate.backlog_bytes,
    )
