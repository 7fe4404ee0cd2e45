"""IPv4 and IPv6 headers to records and back. Pure; bytes in, bytes out.

Both records speak of one datagram or one fragment of it. `length` is what the header says of the payload: in the
packet that an ICMP error quotes it is more than what is there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from patchbay_runner.kernel.nat64 import checksums

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58

IPV4_HEADER, IPV6_HEADER, FRAGMENT_HEADER = 20, 40, 8

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_FRAGMENT = struct.Struct(">BxHI")
_DONT_FRAGMENT, _MORE_FRAGMENTS, _OFFSET = 0x4000, 0x2000, 0x1FFF

_HOP_BY_HOP, _ROUTING, _FRAGMENT_NEXT, _DESTINATION_OPTIONS = 0, 43, 44, 60
_END_OF_OPTIONS, _NO_OPERATION, _LOOSE_ROUTE, _STRICT_ROUTE = 0, 1, 131, 137


class Untranslatable(Exception):
    """A packet that has to be dropped. `cause` names the counter."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(cause)


@dataclass(frozen=True, slots=True)
class Fragment:
    """Its place: `offset` in bytes, `more` when others follow. IPv4 has 16 bits for the identification."""

    offset: int
    more: bool
    identification: int

    @property
    def whole(self) -> bool:
        """An atomic fragment (RFC 6946): nothing was cut."""
        return self.offset == 0 and not self.more


@dataclass(frozen=True, slots=True)
class Datagram:
    """What both versions of IP have in common. `protocol` is the number of the version at hand.

    `dont_fragment` has a meaning for IPv4 alone. `fragment` is None for a datagram in one piece.
    """

    source: bytes
    destination: bytes
    protocol: int
    hops: int
    traffic_class: int
    payload: bytes
    length: int
    fragment: Fragment | None = None
    dont_fragment: bool = False


def parse_ipv4(packet: bytes, *, quoted: bool = False) -> Datagram:
    """Raises Untranslatable for what is no IPv4 packet, or one that asks for a source route."""
    if len(packet) < IPV4_HEADER:
        raise Untranslatable("malformed")
    first, traffic_class, total, identification, cut, hops, protocol, _, source, destination = _IPV4.unpack_from(packet)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < IPV4_HEADER or total < header or (len(packet) < total and not quoted):
        raise Untranslatable("malformed")
    if header > IPV4_HEADER and not quoted and _has_source_route(packet[IPV4_HEADER:header]):
        raise Untranslatable("source_route")
    offset, more = (cut & _OFFSET) * 8, bool(cut & _MORE_FRAGMENTS)
    fragment = Fragment(offset, more, identification) if offset or more else None
    unfragmentable = bool(cut & _DONT_FRAGMENT)
    payload = packet[header:total]
    return Datagram(
        source, destination, protocol, hops, traffic_class, payload, total - header, fragment, unfragmentable
    )


def _has_source_route(options: bytes) -> bool:
    """Whether one is not used up yet (RFC 7915, section 4.1)."""
    at = 0
    while at < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        if at + 2 >= len(options) or options[at + 1] < 2:
            return False
        if options[at] in (_LOOSE_ROUTE, _STRICT_ROUTE) and options[at + 2] <= options[at + 1]:
            return True
        at += options[at + 1]
    return False


def parse_ipv6(packet: bytes, *, quoted: bool = False) -> Datagram:
    """Looks behind extension headers, which have no equivalent in IPv4. Raises Untranslatable."""
    if len(packet) < IPV6_HEADER:
        raise Untranslatable("malformed")
    first, length, protocol, hops, source, destination = _IPV6.unpack_from(packet)
    end = IPV6_HEADER + length
    if first >> 28 != 6 or (len(packet) < end and not quoted):
        raise Untranslatable("malformed")
    packet = packet[:end]
    at, fragment = IPV6_HEADER, None
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT_NEXT, _DESTINATION_OPTIONS):
        if len(packet) < at + 8:
            raise Untranslatable("malformed")
        if fragment is not None and fragment.offset:
            raise Untranslatable("extension_header")  # the header that names the protocol is in another fragment
        if protocol == _ROUTING and packet[at + 3] and not quoted:
            raise Untranslatable("source_route")
        if protocol == _FRAGMENT_NEXT:
            protocol, cut, identification = _FRAGMENT.unpack_from(packet, at)
            fragment = Fragment(cut & 0xFFF8, bool(cut & 1), identification)
            at += FRAGMENT_HEADER
        else:
            protocol, at = packet[at], at + 8 + packet[at + 1] * 8
    if at > end:
        raise Untranslatable("malformed")
    return Datagram(source, destination, protocol, hops, first >> 20 & 0xFF, packet[at:], end - at, fragment)


def build_ipv4(datagram: Datagram, identification: int) -> bytes:
    """`identification` is for datagrams in one piece; fragments bring theirs."""
    total = IPV4_HEADER + datagram.length
    if total > 0xFFFF:
        raise Untranslatable("too_big")
    cut = _DONT_FRAGMENT if datagram.dont_fragment else 0
    if datagram.fragment is not None:
        identification = datagram.fragment.identification & 0xFFFF
        cut |= datagram.fragment.offset // 8 | (_MORE_FRAGMENTS if datagram.fragment.more else 0)
    fields = (0x45, datagram.traffic_class, total, identification, cut, datagram.hops, datagram.protocol)
    bare = _IPV4.pack(*fields, 0, datagram.source, datagram.destination)
    total_sum = checksums.checksum(checksums.word_sum(bare))
    return bare[:10] + total_sum.to_bytes(2) + bare[12:] + datagram.payload


def build_ipv6(datagram: Datagram) -> bytes:
    """A fragment gets a fragment header."""
    cut = datagram.fragment
    length = datagram.length + (FRAGMENT_HEADER if cut else 0)
    if length > 0xFFFF:
        raise Untranslatable("too_big")
    following = _FRAGMENT_NEXT if cut else datagram.protocol
    first = 6 << 28 | datagram.traffic_class << 20
    header = _IPV6.pack(first, length, following, datagram.hops, datagram.source, datagram.destination)
    if cut:
        header += _FRAGMENT.pack(datagram.protocol, cut.offset | cut.more, cut.identification)
    return header + datagram.payload
