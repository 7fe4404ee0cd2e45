"""IPv4 addresses inside IPv6 ones, and which of them a DNS64 offers. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

WELL_KNOWN_PREFIX = IPv6Network("64:ff9b::/96")

# Nobody behind the translator can mean these.
_NEVER_EMBEDDED = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")))


class Dns64(msgspec.Struct, frozen=True):
    """DNS64 (RFC 6147) with a prefix of 96 bits, the address in the last 32 (RFC 6052, section 2.2).

    RFC 6052 keeps private addresses out of the well-known prefix. A lab may well play the internet with them, so they
    are embedded; only what stays on a host or on a link is not.
    """

    prefix: IPv6Network = WELL_KNOWN_PREFIX

    def __post_init__(self) -> None:
        if self.prefix.prefixlen != 96:
            raise ValueError(f"{self.prefix} is not a /96")

    def embed(self, address: IPv4Address) -> IPv6Address | None:
        """The address that the translator sends on to `address`; None where there is none."""
        if any(address in network for network in _NEVER_EMBEDDED):
            return None
        return self.prefix[int(address)]

    def extract(self, address: IPv6Address) -> IPv4Address | None:
        """The address behind one of the prefix; None for any other."""
        return IPv4Address(int(address) & 0xFFFFFFFF) if address in self.prefix else None
