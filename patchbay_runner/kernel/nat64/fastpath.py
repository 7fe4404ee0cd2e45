"""The common packets, translated where they lie: unfragmented TCP, UDP and echo between known addresses.

A frame is received `HEADROOM` bytes into the buffer. The headers before its payload are overwritten with those of the
other IP version, which begin `V4_START` or `V6_START` bytes into it. What this module declines is translated by
`translate`, with the same result for whatever both can do.

::

    received, IPv6     20 offload  30 Ethernet  44 IPv6 ................ 84 payload
    becomes IPv4                        40 offload  50 Ethernet  64 IPv4 84 payload
    received, IPv4     20 offload  30 Ethernet  44 IPv4  64 payload
    becomes IPv6   0 offload  10 Ethernet  24 IPv6 ..... 64 payload
"""

from __future__ import annotations

import struct

from patchbay_runner.kernel.nat64 import checksums
from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.nat64.headers import ICMP, ICMPV6, TCP, UDP
from patchbay_runner.kernel.nat64.icmp import ECHO_TO_V4, ECHO_TO_V6
from patchbay_runner.kernel.nat64.offload import HEADER, NEEDS_CHECKSUM, OTHER_SEGMENTATION
from patchbay_runner.kernel.nat64.segments import CHECKSUM_OFFSET, SYN, TCP_FLAGS
from patchbay_runner.kernel.nat64.translate import LARGEST_FRAGMENTABLE, Translator

HEADROOM, V4_START, V6_START = 20, 40, 0
BUFFER_SIZE = HEADROOM + 2 * 0xFFFF
IP_AT = 44
_MAX_FLOWS = 4096

_V6_PAYLOAD, _V4_PAYLOAD = 84, 64
_IPV6, _IPV4 = struct.Struct(">IHBB32s"), struct.Struct(">BBHHHBBH8s")
_OFFLOAD_AND_ETHERNET = struct.Struct("=BBHHHH14s")
_WORD = struct.Struct(">H")
_DONT_FRAGMENT, _FRAGMENT = 0x4000, 0x3FFF
_IPV4_LIMIT = 0xFFFF - 20
_HEADER = {TCP: 20, UDP: 8}
_ANY_LENGTH = 1 << 16  # no packet is as long: other protocols are not for here
_ECHO_HEADER = 8
_NO_OFFLOAD = (0, 0, 0, 0, 0, 0)
_V6_TRANSPORT, _V4_TRANSPORT = 54, 34  # where it begins in a frame

_OffloadFields = tuple[int, int, int, int, int, int]


class FastPath:
    """Works on one buffer. `ethernet` is the twelve octets of addresses that every frame sent begins with."""

    def __init__(self, buffer: bytearray, translator: Translator, config: Nat64Config, ethernet: bytes) -> None:
        self._buffer = buffer
        self._translator = translator
        self._addresses = translator.addresses
        self._generation = 0
        self._lan_mtu = config.lan_mtu
        self._ethernet_v4, self._ethernet_v6 = ethernet + b"\x08\x00", ethernet + b"\x86\xdd"
        # Both addresses of a packet, to those of the translated one, what that changes in checksums, and their sum.
        self._to_v4: dict[bytes, tuple[bytes, int, int]] = {}
        self._to_v6: dict[bytes, tuple[bytes, int, int]] = {}

    def learn(self) -> None:
        """Remembers the addresses of the packet in the buffer, which the translator has just accepted."""
        if self._buffer[IP_AT] >> 4 == 6:
            old = _IPV6.unpack_from(self._buffer, IP_AT)[-1]
            source, destination = self._addresses.pool_address(old[:16]), self._addresses.embedded(old[16:])
            flows = self._to_v4
        else:
            old = _IPV4.unpack_from(self._buffer, IP_AT)[-1]
            source, destination = self._addresses.embed(old[:4]), self._addresses.client(old[4:])
            flows = self._to_v6
        if source is None or destination is None:
            return
        if len(flows) >= _MAX_FLOWS:
            flows.clear()
        total = checksums.word_sum(source + destination)
        flows[old] = source + destination, total - checksums.word_sum(old), total

    def forget_stale(self) -> None:
        """Forgets everything when a pool address has got another owner."""
        if self._generation != self._addresses.generation:
            self._generation = self._addresses.generation
            self._to_v4.clear()
            self._to_v6.clear()

    def to_ipv4(self, end: int) -> int:
        """Translates the IPv6 frame that ends at `end`; where the new one ends, or 0 for what is left as it was."""
        buffer = self._buffer
        length: int
        first, length, protocol, hops, old = _IPV6.unpack_from(buffer, IP_AT)
        flow = self._to_v4.get(old)
        if flow is None or _V6_PAYLOAD + length > end or length > _IPV4_LIMIT:
            return 0
        addresses, difference, total = flow
        if protocol == ICMPV6:
            protocol, pseudo = ICMP, total - difference + ICMPV6 + length
            offload = self._echo(_V6_PAYLOAD, length, -pseudo, ECHO_TO_V4)
        else:
            offload = self._transport(protocol, _V6_PAYLOAD, length, difference, _V4_TRANSPORT)
        if offload is None:
            return 0
        length += 20
        # A segment's headers end where the offload header says that they do, less the Ethernet header.
        size = offload[2] - 14 + offload[3] if offload[1] else length
        if size > LARGEST_FRAGMENTABLE:
            identification, cut = 0, _DONT_FRAGMENT
        else:
            identification, cut = self._translator.next_identification(), 0
        traffic_class = first >> 20 & 0xFF
        hops += hops < 255
        total += (0x4500 | traffic_class) + length + identification + cut + (hops << 8 | protocol)
        total = checksums.ONES - total % checksums.ONES
        _OFFLOAD_AND_ETHERNET.pack_into(buffer, V4_START, *offload, self._ethernet_v4)
        _IPV4.pack_into(buffer, 64, 0x45, traffic_class, length, identification, cut, hops, protocol, total, addresses)
        return 64 + length

    def to_ipv6(self, end: int) -> int:
        """The same for an IPv4 frame."""
        buffer = self._buffer
        length: int
        version, traffic_class, length, _, cut, hops, protocol, _, old = _IPV4.unpack_from(buffer, IP_AT)
        flow = self._to_v6.get(old)
        if flow is None or version != 0x45 or cut & _FRAGMENT or IP_AT + length > end:
            return 0
        length -= 20
        if not cut and length + 40 > self._lan_mtu and not buffer[HEADROOM + 1]:
            return 0
        addresses, difference, total = flow
        if protocol == ICMP:
            protocol = ICMPV6
            offload = self._echo(_V4_PAYLOAD, length, total + ICMPV6 + length, ECHO_TO_V6)
        else:
            offload = self._transport(protocol, _V4_PAYLOAD, length, difference, _V6_TRANSPORT)
        if offload is None:
            return 0
        hops += hops < 255
        _OFFLOAD_AND_ETHERNET.pack_into(buffer, V6_START, *offload, self._ethernet_v6)
        _IPV6.pack_into(buffer, 24, 6 << 28 | traffic_class << 20, length, protocol, hops, addresses)
        return 64 + length

    def _transport(
        self, protocol: int, payload: int, length: int, difference: int, start: int
    ) -> _OffloadFields | None:
        """Corrects the checksum behind `payload`; the new offload header, or None for what is left as it was."""
        buffer = self._buffer
        header = _HEADER.get(protocol, _ANY_LENGTH)
        if length < header or (protocol == TCP and buffer[payload + TCP_FLAGS] & SYN):
            return None
        flags, segmentation, _, segment, _, offset = HEADER.unpack_from(buffer, HEADROOM)
        other = OTHER_SEGMENTATION.get(segmentation)
        at = payload + CHECKSUM_OFFSET[protocol]
        (old,) = _WORD.unpack_from(buffer, at)
        if other is None:
            return None
        if flags & NEEDS_CHECKSUM:
            new = (old + difference) % checksums.ONES
        elif segmentation or (not old and protocol == UDP):
            return None
        else:
            new = checksums.ONES - (checksums.ONES - old + difference) % checksums.ONES
        _WORD.pack_into(buffer, at, new)
        if protocol == TCP:
            header = (buffer[payload + 12] >> 4) * 4
        return flags & NEEDS_CHECKSUM, other, start + header if segmentation else 0, segment, start, offset

    def _echo(self, payload: int, length: int, pseudo: int, kinds: dict[int, int]) -> _OffloadFields | None:
        """The same for an echo message, whose checksum gains or loses the pseudo-header."""
        buffer = self._buffer
        if length < _ECHO_HEADER or HEADER.unpack_from(buffer, HEADROOM)[:2] != (0, 0):
            return None
        old_kind, at = buffer[payload], payload + 2
        kind = kinds.get(old_kind)
        if kind is None:
            return None
        (old,) = _WORD.unpack_from(buffer, at)
        buffer[payload] = kind
        _WORD.pack_into(buffer, at, checksums.adjusted(old, ((kind - old_kind) << 8) + pseudo))
        return _NO_OFFLOAD
