"""The address ranges of a lab, and which of them are spoken for whatever the topology."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

# RFC 2544 benchmarking space plays the public internet, RFC 3849 documentation space its IPv6 half.
IX_V6 = IPv6Network("2001:db8::/64")
PUBLIC_V4 = (IPv4Network("198.18.0.0/16"), IPv4Network("198.19.0.0/16"))
PUBLIC_V6 = IPv6Network("2001:db8:1::/48")
# What the prefixes behind routers with NPTv6 are mapped to: a /48 for each router, of RFC 9637 documentation space.
MAPPED_V6 = IPv6Network("3fff::/32")
PRIVATE_V4 = (IPv4Network("10.0.0.0/8"),)
PRIVATE_V6 = IPv6Network("fd10::/48")
# Cables between region routers: RFC 5737 documentation space, a /30 each, and a unique local /126 of a /64 each.
REGION_LINKS_V4 = (IPv4Network("203.0.113.0/24"), IPv4Network("198.51.100.0/24"))
REGION_LINKS_V6 = IPv6Network("fd11::/48")

# The gateway is a LAN's first host.
FIRST_MEMBER = 2

# What no LAN can have: what the lab uses itself, and what RFC 6890 gives another meaning.
_SPOKEN_FOR_V4 = {
    IPv4Network("198.18.0.0/24"): "the internet exchange",
    **dict.fromkeys(REGION_LINKS_V4, "the links between regions"),
    IPv4Network("0.0.0.0/8"): '"this network"',
    IPv4Network("127.0.0.0/8"): "the loopback",
    IPv4Network("169.254.0.0/16"): "link-local addresses",
    IPv4Network("224.0.0.0/4"): "multicast",
    IPv4Network("240.0.0.0/4"): "reserved addresses",
}
_SPOKEN_FOR_V6 = {
    IX_V6: "the internet exchange",
    MAPPED_V6: "what NPTv6 maps prefixes to",
    REGION_LINKS_V6: "the links between regions",
    IPv6Network("64:ff9b::/96"): "NAT64",
    IPv6Network("::/8"): "reserved addresses",
    IPv6Network("fe80::/10"): "link-local addresses",
    IPv6Network("ff00::/8"): "multicast",
}


def spoken_for(prefix: IPv4Network | IPv6Network) -> str | None:
    """What a range of its own overlaps, None if a LAN can have it."""
    if isinstance(prefix, IPv4Network):
        return next((f"{what} ({taken})" for taken, what in _SPOKEN_FOR_V4.items() if taken.overlaps(prefix)), None)
    return next((f"{what} ({taken})" for taken, what in _SPOKEN_FOR_V6.items() if taken.overlaps(prefix)), None)


def most_members(prefix: IPv4Network) -> int:
    """How many members a LAN has addresses for, besides its gateway."""
    return prefix.num_addresses - 1 - FIRST_MEMBER
