"""Where the LANs' prefixes come from: their own, or disjoint ones of a pool. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import TypeVar

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.model.ranges import MAPPED_V6, spoken_for
from patchbay_runner.model.topology import Router, Topology

_Prefix = TypeVar("_Prefix", IPv4Network, IPv6Network)

_LONGEST_V4_PREFIX = 24
# Hosts kept free on every LAN for interfaces that are added or plugged over while the lab runs.
_SPARE_HOSTS = 32


def _prefix_length(highest_host: int) -> int:
    """The longest prefix, at most a /24, whose network holds hosts up to `highest_host`."""
    if highest_host + 2 <= 2 ** (32 - _LONGEST_V4_PREFIX):
        return _LONGEST_V4_PREFIX
    return 32 - (highest_host + _SPARE_HOSTS + 1).bit_length()


class V4Pool:
    """Hands out disjoint aligned networks from `blocks` in order, each as large as its members need.

    None of them overlaps any of `taken`.
    """

    def __init__(self, blocks: tuple[IPv4Network, ...], taken: Sequence[IPv4Network] = (), skip: int = 0) -> None:
        self._blocks = list(blocks)
        self._taken = taken
        self._next = int(blocks[0].network_address) + skip

    def take(self, highest_host: int, owner: str) -> IPv4Network:
        """Raises LabError when no block has room."""
        prefix = _prefix_length(highest_host)
        size = 2 ** (32 - prefix)
        while self._blocks:
            start = -(-self._next // size) * size
            if start + size - 1 > int(self._blocks[0].broadcast_address):
                del self._blocks[0]
                self._next = int(self._blocks[0].network_address) if self._blocks else 0
                continue
            network = IPv4Network((start, prefix))
            in_the_way = next((taken for taken in self._taken if taken.overlaps(network)), None)
            if in_the_way is None:
                self._next = start + size
                return network
            self._next = int(in_the_way.broadcast_address) + 1
        raise LabError("there is no IPv4 prefix left for its LAN", owner)


def mapped_prefix(router: int, lan: int) -> IPv6Network:
    """The /64 that stands for LAN number `lan` outside router number `router`; both count from 1."""
    return IPv6Network((int(MAPPED_V6.network_address) + (router << 80) + (lan << 64), 64))


class OwnPrefixes(msgspec.Struct, frozen=True):
    """The prefixes that LANs were given by name, by their routers."""

    v4: dict[str, IPv4Network]
    v6: dict[str, IPv6Network]

    @classmethod
    def of(cls, topology: Topology) -> OwnPrefixes:
        """Raises LabError when one is nothing that a LAN can have, or overlaps another."""
        own = cls({}, {})
        for router in topology.routers:
            if router.cidr is not None and router.ip_support.v4:
                own.v4[router.name] = _checked(IPv4Network(router.cidr), own.v4, router)
            if router.cidr_v6 is not None and router.ip_support.v6:
                own.v6[router.name] = _checked(IPv6Network(router.cidr_v6), own.v6, router)
        return own


def _checked(prefix: _Prefix, others: dict[str, _Prefix], router: Router) -> _Prefix:
    rival = spoken_for(prefix) or next((name for name, other in others.items() if prefix.overlaps(other)), None)
    if rival is not None:
        raise LabError(f"its LAN's prefix {prefix} overlaps {rival}", router.name)
    return prefix


def subnets_v6(block: IPv6Network, taken: Sequence[IPv6Network] = ()) -> Iterator[IPv6Network]:
    """The /64s of a /48, numbered from 1, without those that overlap any of `taken`."""
    base = int(block.network_address)
    for number in range(1, 2**16):
        subnet = IPv6Network((base + (number << 64), 64))
        if not any(each.overlaps(subnet) for each in taken):
            yield subnet
    raise LabError(f"there is no IPv6 prefix left in {block}")
