"""Addresses of IPv4 hosts as a host without IPv4 reaches them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

_PREFIX = int(IPv6Address("64:ff9b::"))


def embed_v4_in_nat64(address: IPv4Address | str) -> IPv6Address:
    """The address below NAT64's well-known prefix 64:ff9b::/96 (RFC 6052) that stands for an IPv4 address.

    Examples:
        >>> from patchbay_runner import embed_v4_in_nat64
        >>> embed_v4_in_nat64("198.51.100.7")
        IPv6Address('64:ff9b::c633:6407')
    """
    return IPv6Address(_PREFIX + int(IPv4Address(address)))
