"""Packets of one IP version to packets of the other (RFC 7915), every kind of them. Bytes in, bytes out.

The state is small and stands beside it: the table of clients, and ICMP fragments that wait for the rest.

Hop limits: the router's kernel takes one hop from a packet on its way into the translator and one on its way out,
and answers those that have none left. A router is one hop, so the translator gives one back.
"""

from __future__ import annotations

from dataclasses import replace

from patchbay_runner.kernel.nat64 import checksums, icmp
from patchbay_runner.kernel.nat64.addresses import Addresses, Nat64Config
from patchbay_runner.kernel.nat64.fragments import Reassembler, cut_for_ipv6
from patchbay_runner.kernel.nat64.headers import (
    ICMP,
    ICMPV6,
    IPV4_HEADER,
    IPV6_HEADER,
    TCP,
    UDP,
    Datagram,
    Untranslatable,
    build_ipv4,
    build_ipv6,
    parse_ipv4,
    parse_ipv6,
)
from patchbay_runner.kernel.nat64.segments import CHECKSUM_OFFSET, clamped, with_adjusted_checksum

# Up to this size a packet may be fragmented on the IPv4 side: its sender cannot make smaller ones (section 5.1).
LARGEST_FRAGMENTABLE = icmp.MINIMUM_IPV6_MTU - IPV6_HEADER + IPV4_HEADER
# What an ICMP error may measure: RFC 1812, section 4.3.2.3, and RFC 4443, section 2.4.
_LARGEST_ERROR_V4, _LARGEST_ERROR_V6 = 576, 1280
_ICMP_HEADER = 8


class Translator:
    """Stateless but for clients and fragments. `partial` says that the transport's checksum field holds the sum of the
    pseudo-header only and that a device adds the rest later: of this machine's own packets, and of unsegmented ones.
    """

    def __init__(self, config: Nat64Config) -> None:
        self.addresses = Addresses(config.prefix, config.pool)
        self.reassembler = Reassembler()
        self._config = config
        self._identification = 0

    def next_identification(self) -> int:
        """For IPv4 packets that may be fragmented; it comes again after 65,536 of them."""
        self._identification = (self._identification + 1) & 0xFFFF
        return self._identification

    def to_ipv4(self, packet: bytes, now_s: float, *, partial: bool = False, segment: int = 0) -> list[bytes]:
        """Translates what a client sent; nothing comes of a fragment that has to wait.

        `segment` is the payload that a device will cut the packet into, 0 when it will not. Raises Untranslatable.
        """
        datagram: Datagram | None = parse_ipv6(packet)
        assert datagram is not None
        source = self.addresses.pool_address(datagram.source)
        destination = self.addresses.embedded(datagram.destination)
        if source is None or destination is None:
            raise Untranslatable("address")
        is_fragment = datagram.fragment is not None
        if datagram.protocol == ICMPV6 and datagram.fragment is not None:
            datagram = self._gathered(datagram, now_s)
            if datagram is None:
                return []
        translated = self._ipv4(datagram, source, destination, partial)
        if datagram.protocol == TCP:
            translated = clamped(translated, self._config.segment_limit, partial)
        size = IPV4_HEADER + (segment or translated.length)
        unfragmentable = not is_fragment and size > LARGEST_FRAGMENTABLE
        translated = replace(translated, hops=min(datagram.hops + 1, 255), dont_fragment=unfragmentable)
        return [build_ipv4(translated, 0 if unfragmentable else self.next_identification())]

    def to_ipv6(self, packet: bytes, now_s: float, *, partial: bool = False, segment: int = 0) -> list[bytes]:
        """Translates what comes for a client: several packets when it had to be cut. Otherwise as `to_ipv4`."""
        datagram: Datagram | None = parse_ipv4(packet)
        assert datagram is not None
        source, destination = self._host(datagram.source), self.addresses.client(datagram.destination)
        if source is None or destination is None:
            raise Untranslatable("address")
        identification = int.from_bytes(packet[4:6])
        if datagram.protocol == ICMP and datagram.fragment is not None:
            datagram = self._gathered(datagram, now_s)
            if datagram is None:
                return []
        translated = self._ipv6(datagram, source, destination, partial)
        if datagram.protocol == TCP:
            translated = clamped(translated, self._config.segment_limit, partial)
        translated = replace(translated, hops=min(datagram.hops + 1, 255))
        whole = build_ipv6(translated)
        if len(whole) <= self._config.lan_mtu or segment or datagram.dont_fragment:
            return [whole]
        return [build_ipv6(piece) for piece in cut_for_ipv6(translated, self._config.lan_mtu, identification)]

    def _gathered(self, datagram: Datagram, now_s: float) -> Datagram | None:
        assert datagram.fragment is not None
        if datagram.fragment.whole:
            return replace(datagram, fragment=None)
        return self.reassembler.add(datagram, now_s)

    def _host(self, v4: bytes) -> bytes | None:
        """How clients know a host; nobody has an address of the pool but clients."""
        return None if self.addresses.is_pool(v4) else self.addresses.embed(v4)

    def _ipv4(
        self, datagram: Datagram, source: bytes, destination: bytes, partial: bool, quoted: bool = False
    ) -> Datagram:
        moved = replace(datagram, source=source, destination=destination)
        if moved.fragment is not None and moved.fragment.whole:
            moved = replace(moved, fragment=None)
        if datagram.protocol == ICMPV6:
            return self._icmp_to_ipv4(datagram, moved, quoted)
        return _transport(datagram, moved, partial, quoted)

    def _ipv6(
        self, datagram: Datagram, source: bytes, destination: bytes, partial: bool, quoted: bool = False
    ) -> Datagram:
        moved = replace(datagram, source=source, destination=destination)
        if datagram.protocol == ICMP:
            return self._icmp_to_ipv6(datagram, moved, quoted)
        return _transport(datagram, moved, partial, quoted)

    def _icmp_to_ipv4(self, datagram: Datagram, moved: Datagram, quoted: bool) -> Datagram:
        message = datagram.payload
        if datagram.fragment is not None and datagram.fragment.offset:
            return replace(moved, protocol=ICMP)  # quoted in an error; others were put together
        if len(message) < _ICMP_HEADER:
            raise Untranslatable("malformed")
        pseudo = checksums.pseudo_header_sum(datagram.source, datagram.destination, ICMPV6, datagram.length)
        if message[0] in icmp.ECHO_TO_V4:
            payload = _echo(message, icmp.ECHO_TO_V4[message[0]], -pseudo)
            return replace(moved, protocol=ICMP, payload=payload)
        if quoted or not icmp.is_error(message[0], ICMPV6):
            raise Untranslatable("icmp_type")
        if (pseudo + checksums.word_sum(message)) % checksums.ONES:
            raise Untranslatable("checksum")
        error = icmp.IcmpError(message[0], message[1], message[4:8])
        inner = parse_ipv6(icmp.quoted_octets(error, False, message[_ICMP_HEADER:]), quoted=True)
        limit = min(self._config.wan_mtu, self._config.lan_mtu - IPV6_HEADER + IPV4_HEADER)
        translated = icmp.error_to_ipv4(error, limit)
        source, destination = self.addresses.embedded(inner.source), self.addresses.known(inner.destination)
        if source is None or destination is None:
            raise Untranslatable("address")
        quote = self._ipv4(inner, source, destination, partial=False, quoted=True)
        identification = inner.fragment.identification & 0xFFFF if inner.fragment else 0
        packet = build_ipv4(replace(quote, dont_fragment=inner.fragment is None), identification)
        payload = _error(translated, packet[: _LARGEST_ERROR_V4 - IPV4_HEADER - _ICMP_HEADER], 0)
        return replace(moved, protocol=ICMP, payload=payload, length=len(payload))

    def _icmp_to_ipv6(self, datagram: Datagram, moved: Datagram, quoted: bool) -> Datagram:
        message = datagram.payload
        if datagram.fragment is not None and datagram.fragment.offset:
            return replace(moved, protocol=ICMPV6)
        if len(message) < _ICMP_HEADER:
            raise Untranslatable("malformed")
        if message[0] in icmp.ECHO_TO_V6:
            pseudo = checksums.pseudo_header_sum(moved.source, moved.destination, ICMPV6, datagram.length)
            payload = _echo(message, icmp.ECHO_TO_V6[message[0]], pseudo)
            return replace(moved, protocol=ICMPV6, payload=payload)
        if quoted or not icmp.is_error(message[0], ICMP):
            raise Untranslatable("icmp_type")
        if checksums.word_sum(message):
            raise Untranslatable("checksum")
        error = icmp.IcmpError(message[0], message[1], message[4:8])
        quoted_octets = icmp.quoted_octets(error, True, message[_ICMP_HEADER:])
        inner = parse_ipv4(quoted_octets, quoted=True)
        limit = min(self._config.lan_mtu, self._config.wan_mtu + IPV6_HEADER - IPV4_HEADER)
        translated = icmp.error_to_ipv6(error, IPV4_HEADER + inner.length, limit)
        source, destination = self.addresses.client(inner.source), self._host(inner.destination)
        if source is None or destination is None:
            raise Untranslatable("address")
        packet = build_ipv6(self._ipv6(inner, source, destination, partial=False, quoted=True))
        packet = packet[: _LARGEST_ERROR_V6 - IPV6_HEADER - _ICMP_HEADER]
        pseudo = checksums.pseudo_header_sum(moved.source, moved.destination, ICMPV6, _ICMP_HEADER + len(packet))
        payload = _error(translated, packet, pseudo)
        return replace(moved, protocol=ICMPV6, payload=payload, length=len(payload))


def _transport(datagram: Datagram, moved: Datagram, partial: bool, quoted: bool) -> Datagram:
    """Corrects the checksum for the new addresses: length and protocol are the same words in both pseudo-headers."""
    at = CHECKSUM_OFFSET.get(datagram.protocol)
    if at is None:
        raise Untranslatable("protocol")
    if datagram.fragment is not None and datagram.fragment.offset:
        return moved
    if len(datagram.payload) < at + 2:
        if quoted:
            return moved
        raise Untranslatable("malformed")
    difference = checksums.word_sum(moved.source + moved.destination) - checksums.word_sum(
        datagram.source + datagram.destination
    )
    if datagram.protocol == UDP and not any(datagram.payload[at : at + 2]) and not partial:
        return _unsummed(datagram, moved, quoted)
    return replace(moved, payload=with_adjusted_checksum(datagram.payload, at, difference, partial))


def _unsummed(datagram: Datagram, moved: Datagram, quoted: bool) -> Datagram:
    """UDP without a checksum, which IPv6 forbids: gets one when the whole of it is here (section 4.5)."""
    if quoted or len(moved.destination) == 4:
        return moved
    if datagram.fragment is not None:
        raise Untranslatable("unsummed_fragment")
    total = checksums.pseudo_header_sum(moved.source, moved.destination, UDP, datagram.length)
    total = checksums.checksum(total + checksums.word_sum(datagram.payload))
    return replace(moved, payload=datagram.payload[:6] + total.to_bytes(2) + datagram.payload[8:])


def _echo(message: bytes, kind: int, pseudo: int) -> bytes:
    """An echo message of the other version; `pseudo` is what the pseudo-header adds to its checksum."""
    old = int.from_bytes(message[2:4])
    new = checksums.adjusted(old, ((kind - message[0]) << 8) + pseudo)
    return bytes((kind, message[1])) + new.to_bytes(2) + message[4:]


def _error(error: icmp.IcmpError, quote: bytes, pseudo: int) -> bytes:
    bare = bytes((error.type, error.code, 0, 0)) + error.rest + quote
    total = checksums.checksum(pseudo + checksums.word_sum(bare))
    return bare[:2] + total.to_bytes(2) + bare[4:]
