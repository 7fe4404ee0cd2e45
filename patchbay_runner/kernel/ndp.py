"""Router Discovery messages of IPv6 Neighbor Discovery as bytes, and the addresses hosts form from them. Pure.

Layouts: RFC 4861 (sections 4.1, 4.2, 4.6), RFC 8106 (section 5.1). Checksums are left zero: the kernel computes them on
every raw ICMPv6 socket (RFC 3542, section 3.1).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network
from typing import Any

import msgspec

ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134

_SOURCE_LINK_LAYER_ADDRESS = 1
_PREFIX_INFORMATION = 3
_MTU = 5
_RECURSIVE_DNS_SERVERS = 25

_SOLICITATION = struct.Struct("!BBH4x")
_ADVERTISEMENT = struct.Struct("!BBHBBHII")
_PREFIX = struct.Struct("!BBBBII4x16s")
_MTU_OPTION = struct.Struct("!BBxxI")
_DNS_HEAD = struct.Struct("!BBxxI")

_MANAGED, _OTHER = 0x80, 0x40
_ON_LINK, _AUTONOMOUS = 0x80, 0x40
_INTERFACE_IDENTIFIER_BITS = 64


class PrefixInformation(msgspec.Struct, frozen=True):
    """A prefix of the link. Hosts form addresses from an autonomous one of 64 bits. Lifetimes as radvd's defaults."""

    prefix: IPv6Network
    valid_lifetime_s: int = 86_400
    preferred_lifetime_s: int = 14_400
    on_link: bool = True
    autonomous: bool = True


class RouterAdvertisement(msgspec.Struct, frozen=True, kw_only=True):
    """A Router Advertisement. With `lifetime_s` 0 the sender is no default router (any more); `mtu` 0 says nothing.

    The recursive DNS servers share the router's lifetime.
    """

    lifetime_s: int = 1800
    hop_limit: int = 64
    managed: bool = False
    other: bool = False
    reachable_time_ms: int = 0
    retransmission_time_ms: int = 0
    source_mac: bytes = b""
    mtu: int = 0
    prefixes: tuple[PrefixInformation, ...] = ()
    recursive_dns: tuple[IPv6Address, ...] = ()


def encode_advertisement(message: RouterAdvertisement) -> bytes:
    """The ICMPv6 message. Raises struct.error when a field does not fit."""
    head = _ADVERTISEMENT.pack(
        ROUTER_ADVERTISEMENT,
        0,
        0,
        message.hop_limit,
        _MANAGED * message.managed | _OTHER * message.other,
        message.lifetime_s,
        message.reachable_time_ms,
        message.retransmission_time_ms,
    )
    return head + b"".join(_advertised_options(message))


def _advertised_options(message: RouterAdvertisement) -> Iterator[bytes]:
    if message.source_mac:
        yield _link_layer_option(message.source_mac)
    if message.mtu:
        yield _MTU_OPTION.pack(_MTU, 1, message.mtu)
    for prefix in message.prefixes:
        flags = _ON_LINK * prefix.on_link | _AUTONOMOUS * prefix.autonomous
        lifetimes = prefix.valid_lifetime_s, prefix.preferred_lifetime_s
        network = prefix.prefix
        yield _PREFIX.pack(_PREFIX_INFORMATION, 4, network.prefixlen, flags, *lifetimes, network.network_address.packed)
    if message.recursive_dns:
        units = 1 + 2 * len(message.recursive_dns)
        head = _DNS_HEAD.pack(_RECURSIVE_DNS_SERVERS, units, message.lifetime_s)
        yield head + b"".join(server.packed for server in message.recursive_dns)


def decode_advertisement(data: bytes) -> RouterAdvertisement:
    """The message of an ICMPv6 payload; options of other kinds are passed over. Raises ValueError."""
    options = list(_options(data, ROUTER_ADVERTISEMENT, _ADVERTISEMENT.size))
    _, _, _, hop_limit, flags, lifetime_s, reachable_ms, retransmission_ms = _ADVERTISEMENT.unpack_from(data)
    found = dict(options)
    return RouterAdvertisement(
        lifetime_s=lifetime_s,
        hop_limit=hop_limit,
        managed=bool(flags & _MANAGED),
        other=bool(flags & _OTHER),
        reachable_time_ms=reachable_ms,
        retransmission_time_ms=retransmission_ms,
        source_mac=found.get(_SOURCE_LINK_LAYER_ADDRESS, b"")[2:],
        mtu=_sized(_MTU_OPTION, found[_MTU])[2] if _MTU in found else 0,
        prefixes=tuple(_decode_prefix(option) for kind, option in options if kind == _PREFIX_INFORMATION),
        recursive_dns=tuple(
            address for kind, option in options if kind == _RECURSIVE_DNS_SERVERS for address in _decode_servers(option)
        ),
    )


def _decode_prefix(option: bytes) -> PrefixInformation:
    _, _, length, flags, valid_s, preferred_s, address = _sized(_PREFIX, option)
    # Bits behind the prefix are reserved and ignored (RFC 4861, section 4.6.2).
    network = IPv6Network((address, length), strict=False)
    return PrefixInformation(network, valid_s, preferred_s, bool(flags & _ON_LINK), bool(flags & _AUTONOMOUS))


def _decode_servers(option: bytes) -> Iterator[IPv6Address]:
    if len(option) < _DNS_HEAD.size + 16 or (len(option) - _DNS_HEAD.size) % 16:
        raise ValueError("the option of recursive DNS servers has a wrong length")
    for start in range(_DNS_HEAD.size, len(option), 16):
        yield IPv6Address(option[start : start + 16])


def _sized(layout: struct.Struct, option: bytes) -> tuple[Any, ...]:
    if len(option) != layout.size:
        raise ValueError(f"option {option[0]} has {len(option)} bytes instead of {layout.size}")
    return layout.unpack(option)


def encode_solicitation(source_mac: bytes = b"") -> bytes:
    """A Router Solicitation. A host without an address yet leaves out its hardware address."""
    head = _SOLICITATION.pack(ROUTER_SOLICITATION, 0, 0)
    return head + (_link_layer_option(source_mac) if source_mac else b"")


def decode_solicitation(data: bytes) -> bytes:
    """The source's hardware address, b"" when it names none. Raises ValueError for what RFC 4861 (6.1.1) discards."""
    options = dict(_options(data, ROUTER_SOLICITATION, _SOLICITATION.size))
    return options.get(_SOURCE_LINK_LAYER_ADDRESS, b"")[2:]


def _link_layer_option(mac: bytes) -> bytes:
    return bytes((_SOURCE_LINK_LAYER_ADDRESS, 1)) + mac


def _options(data: bytes, kind: int, head_size: int) -> Iterator[tuple[int, bytes]]:
    """The kind and the whole bytes of each option."""
    if len(data) < head_size:
        raise ValueError(f"{len(data)} bytes are too few for the message")
    if data[0] != kind or data[1] != 0:
        raise ValueError(f"ICMPv6 type {data[0]}, code {data[1]} instead of type {kind}, code 0")
    start = head_size
    while start < len(data):
        size = data[start + 1] * 8 if start + 1 < len(data) else 0
        if size == 0 or start + size > len(data):
            raise ValueError(f"the option at byte {start} has an impossible length")
        yield data[start], data[start : start + size]
        start += size


def interface_identifier(mac: bytes) -> bytes:
    """The modified EUI-64 of a hardware address (RFC 4291, appendix A)."""
    return bytes((mac[0] ^ 0x02,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


def slaac_address(prefix: IPv6Network, mac: bytes) -> IPv6Address:
    """The address that a host with `mac` forms from an advertised prefix (RFC 4862, 5.5.3), as Linux does where
    addr_gen_mode is 0. Raises ValueError for a prefix that leaves no room for the 64 bits of an identifier, or more.
    """
    if prefix.prefixlen != 128 - _INTERFACE_IDENTIFIER_BITS:
        raise ValueError(f"{prefix} is not a /64: hosts form no address from it")
    return IPv6Address(prefix.network_address.packed[:8] + interface_identifier(mac))
