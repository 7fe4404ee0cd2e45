"""Which IPv4 address stands for which IPv6 address, and back.

An IPv4 host is its address below the NAT64 prefix (RFC 6052). An IPv6 client is an address of the pool, which is its
own for as long as there are more addresses than clients: two clients that use the same port, or the same echo
identifier, never meet in the translator. Ports are the business of the router's own IPv4 NAT behind it.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import msgspec

# RFC 6052, section 2.1.
WELL_KNOWN_PREFIX = IPv6Network("64:ff9b::/96")
# Reserved (RFC 1112, section 4): no host that a client may want to reach has such an address, and Linux routes them.
# They are seen inside the router only, whose NAT hides them.
CLIENT_POOL = IPv4Network("240.0.0.0/18")

_EMBEDDED = 96  # the prefix length; the IPv4 address is the rest


class Nat64Config(msgspec.Struct, frozen=True):
    """What a translator has to know.

    `lan_mtu` is the smallest IPv6 MTU among the clients, `wan_mtu` the IPv4 MTU of the uplink, both in bytes.
    """

    prefix: IPv6Network = WELL_KNOWN_PREFIX
    pool: IPv4Network = CLIENT_POOL
    lan_mtu: int = 1500
    wan_mtu: int = 1500

    @property
    def segment_limit(self) -> int:
        """The largest TCP segment that fits both sides: without options, below IPv6 and IPv4 headers."""
        return min(self.lan_mtu - 60, self.wan_mtu - 40)


class Addresses:
    """The table of clients. Bounded by the pool: the client that was looked up longest ago makes room.

    `generation` counts how often that has happened, for those who remember what they were told.
    """

    def __init__(self, prefix: IPv6Network, pool: IPv4Network) -> None:
        if prefix.prefixlen != _EMBEDDED:
            raise ValueError(f"the prefix of a NAT64 is a /{_EMBEDDED}, not {prefix}")
        self.generation = 0
        self._prefix = prefix.network_address.packed[:12]
        self._first, self._last = int(pool.network_address) + 1, int(pool.broadcast_address) - 1
        self._network, self._mask = int(pool.network_address), int(pool.netmask)
        self._next = self._first
        self._by_client: dict[bytes, bytes] = {}
        self._by_pool: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._by_client)

    def embedded(self, v6: bytes) -> bytes | None:
        """The IPv4 address of a host below the prefix; None for others, and for the pool, which is no host's."""
        if not v6.startswith(self._prefix):
            return None
        v4 = v6[12:]
        return None if self.is_pool(v4) else v4

    def embed(self, v4: bytes) -> bytes:
        """The IPv6 address that clients know an IPv4 host by."""
        return self._prefix + v4

    def is_pool(self, v4: bytes) -> bool:
        return int.from_bytes(v4) & self._mask == self._network

    def client(self, v4: bytes) -> bytes | None:
        """The client that a pool address stands for, if any."""
        v6 = self._by_pool.get(v4)
        if v6 is not None:
            self._touch(v6, v4)
        return v6

    def known(self, v6: bytes) -> bytes | None:
        """The pool address of a client that has one."""
        return self._by_client.get(v6)

    def pool_address(self, v6: bytes) -> bytes | None:
        """The pool address of a client, made when it has none. None for what is no client: prefix, multicast, `::`."""
        v4 = self._by_client.get(v6)
        if v4 is not None:
            self._touch(v6, v4)
            return v4
        if v6.startswith(self._prefix) or v6[0] == 0xFF or not any(v6):
            return None
        v4 = self._free_address()
        self._by_client[v6] = v4
        self._by_pool[v4] = v6
        return v4

    def _touch(self, v6: bytes, v4: bytes) -> None:
        """Puts the client at the end of the order in which they make room."""
        del self._by_client[v6]
        self._by_client[v6] = v4

    def _free_address(self) -> bytes:
        if self._next <= self._last:
            self._next += 1
            return (self._next - 1).to_bytes(4)
        oldest = next(iter(self._by_client))
        v4 = self._by_client.pop(oldest)
        del self._by_pool[v4]
        self.generation += 1
        return v4
