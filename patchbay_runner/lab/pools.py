"""Where the lab's prefixes come from: disjoint pools for the exchange, LANs and region links. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

from patchbay_runner.errors import LabError

# RFC 2544 benchmarking space plays the public internet, RFC 3849 documentation space its IPv6 half.
IX_V6 = IPv6Network("2001:db8::/64")
PUBLIC_V4 = (IPv4Network("198.18.0.0/16"), IPv4Network("198.19.0.0/16"))
PUBLIC_V6 = IPv6Network("2001:db8:1::/48")
PRIVATE_V4 = (IPv4Network("10.0.0.0/8"),)
PRIVATE_V6 = IPv6Network("fd10::/48")
# Cables between region routers: RFC 5737 documentation space, a /30 each, and a unique local /126 of a /64 each.
REGION_LINKS_V4 = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24"))
REGION_LINKS_V6 = IPv6Network("fd11::/48")

_LONGEST_V4_PREFIX = 24
# Hosts kept free on every LAN for interfaces that are added or plugged over while the lab runs.
_SPARE_HOSTS = 32


def _prefix_length(highest_host: int) -> int:
    """The longest prefix, at most a /24, whose network holds hosts up to `highest_host`."""
    if highest_host + 2 <= 2 ** (32 - _LONGEST_V4_PREFIX):
        return _LONGEST_V4_PREFIX
    return 32 - (highest_host + _SPARE_HOSTS + 1).bit_length()


class V4Pool:
    """Hands out disjoint aligned networks from `blocks` in order, each as large as its members need."""

    def __init__(self, blocks: tuple[IPv4Network, ...], skip: int = 0) -> None:
        self._blocks = list(blocks)
        self._next = int(blocks[0].network_address) + skip

    def take(self, highest_host: int, owner: str) -> IPv4Network:
        """Raises LabError when no block has room."""
        prefix = _prefix_length(highest_host)
        size = 2 ** (32 - prefix)
        while self._blocks:
            start = -(-self._next // size) * size
            if start + size - 1 <= int(self._blocks[0].broadcast_address):
                self._next = start + size
                return IPv4Network((start, prefix))
            del self._blocks[0]
            if self._blocks:
                self._next = int(self._blocks[0].network_address)
        raise LabError("there is no IPv4 prefix left for its LAN", owner)


def subnets_v6(block: IPv6Network) -> Iterator[IPv6Network]:
    """The /64s of a /48, numbered from 1."""
    base = int(block.network_address)
    for number in range(1, 2**16):
        yield IPv6Network((base + (number << 64), 64))
    raise LabError(f"there is no IPv6 prefix left in {block}")
