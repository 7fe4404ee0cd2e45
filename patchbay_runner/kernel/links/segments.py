"""Segments: many frames of one flow that the kernel carries as one, each behind the same headers. Pure.

A segment on a packet socket begins with its virtio_net_hdr (linux/virtio_net.h), whose `gso_size` is what each of its
frames carries. Every frame of it meets a fate of its own, so that segments are cut where fates differ, and nowhere
else: the headers of a piece are those that the kernel would have made (net/ipv4/tcp_offload.c, udp_offload.c).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import msgspec

from patchbay_runner.kernel.links.line import DROPPED

VNET_HEADER_SIZE = 10
# More than all headers of a frame can take: Ethernet with a tag, IPv6 with options, TCP with options.
HEADERS_LIMIT = 256

_VNET = struct.Struct("=BBHHHH")  # flags, type, length of headers, payload of a frame, start and place of the checksum
_NEEDS_CHECKSUM = 1
_TCP_V4, _TCP_V6, _UDP, _ECN = 1, 4, 5, 0x80
_TYPES = (_TCP_V4, _TCP_V6, _UDP)

_ETHERNET, _UDP_HEADER, _IPV6_HEADER = 14, 8, 40
_IPV4_TYPE, _IPV6_TYPE, _TAG_TYPE = b"\x08\x00", b"\x86\xdd", b"\x81\x00"
_UDP_PROTOCOL, _DONT_FRAGMENT = 17, b"\x40\x00"
_FIN_PUSH, _CWR = 0x09, 0x80
_LONGEST_PACKET = 65_535


class Segment(msgspec.Struct, frozen=True):
    """A segment's headers with the virtio_net_hdr before them, and how its payload divides.

    `network` and `transport` are where those headers begin in a frame, `headers` is where they end. The last frame
    may carry less than `frame_payload`.
    """

    head: bytes
    network: int
    transport: int
    headers: int
    frame_payload: int
    payload: int

    @property
    def frames(self) -> int:
        return -(-self.payload // self.frame_payload)

    def length(self, first: int, count: int = 1) -> int:
        """Bytes of payload in `count` frames from the frame `first` on."""
        begin = first * self.frame_payload
        return min(count * self.frame_payload, self.payload - begin)

    def piece(self, first: int, count: int) -> bytes:
        """The headers, virtio_net_hdr included, of `count` frames from the frame `first` on, which are one segment."""
        payload = self.length(first, count)
        head = bytearray(self.head)
        flags, kind, _, frame_payload, start, place = _VNET.unpack_from(head)
        if payload <= frame_payload:
            kind = frame_payload = 0
        elif first:
            kind &= ~_ECN  # it means that the first frame alone has CWR
        _VNET.pack_into(head, 0, flags, kind, self.headers, frame_payload, start, place)
        network, transport = VNET_HEADER_SIZE + self.network, VNET_HEADER_SIZE + self.transport
        _set_packet_length(head, network, self.headers - self.network + payload, first)
        if place == 6:
            struct.pack_into(">H", head, transport + 4, _UDP_HEADER + payload)
        else:
            self._set_stream_fields(head, transport, first, count)
        old, new = (self.headers - self.transport + each for each in (self.payload, payload))
        _add_to_checksum(head, transport + place, (~old & 0xFFFF) + new)
        return bytes(head)

    def _set_stream_fields(self, head: bytearray, transport: int, first: int, count: int) -> None:
        (number,) = struct.unpack_from(">I", head, transport + 4)
        struct.pack_into(">I", head, transport + 4, (number + first * self.frame_payload) & 0xFFFFFFFF)
        if first + count < self.frames:
            head[transport + 13] &= ~_FIN_PUSH & 0xFF
        if first:
            head[transport + 13] &= ~_CWR & 0xFF


def read_segment(head: bytes, length: int) -> Segment | None:
    """The segment whose first bytes are `head` and which is `length` bytes long with its virtio_net_hdr.

    None for one that this module does not know how to cut.
    """
    flags, kind, _, frame_payload, transport, _ = _VNET.unpack_from(head)
    if kind & ~_ECN not in _TYPES or not flags & _NEEDS_CHECKSUM or not frame_payload:
        return None
    ethernet = _ETHERNET + 4 * (head[VNET_HEADER_SIZE + 12 : VNET_HEADER_SIZE + 14] == _TAG_TYPE)
    network_type = head[VNET_HEADER_SIZE + ethernet - 2 : VNET_HEADER_SIZE + ethernet]
    first = head[VNET_HEADER_SIZE + ethernet]
    if network_type == _IPV4_TYPE:
        is_next = transport == ethernet + 4 * (first & 0xF)
    else:
        is_next = network_type == _IPV6_TYPE and transport >= ethernet + _IPV6_HEADER
    if not is_next or VNET_HEADER_SIZE + transport + 20 > len(head):
        return None  # inside a tunnel
    own = _UDP_HEADER if kind == _UDP else head[VNET_HEADER_SIZE + transport + 12] >> 4 << 2
    headers = transport + own
    payload = length - VNET_HEADER_SIZE - headers
    if payload <= 0:
        return None
    return Segment(head[: VNET_HEADER_SIZE + headers], ethernet, transport, headers, frame_payload, payload)


def runs(fates: Sequence[tuple[int, int]], grain_ns: int) -> Iterator[tuple[int, int, int, int]]:
    """Which neighbouring frames of a segment stay together: (first, count, departure, flags) of each piece.

    `fates` are departures and flags by `Line.admit`. Frames with flags stand alone; others leave with the first of
    their piece, at most `grain_ns` early.
    """
    first = count = departure_ns = 0
    for number, (leaves_ns, flags) in enumerate(fates):
        if count and (flags or leaves_ns == DROPPED or leaves_ns - departure_ns > grain_ns):
            yield first, count, departure_ns, 0
            count = 0
        if leaves_ns == DROPPED:
            continue
        if flags:
            yield number, 1, leaves_ns, flags
        elif count:
            count += 1
        else:
            first, count, departure_ns = number, 1, leaves_ns
    if count:
        yield first, count, departure_ns, 0


def datagram_flow(head: bytes) -> bytes | None:
    """What datagrams must have in common to be joined, of the first bytes of a frame; None for anything else.

    It has all of the headers but the identification and checksum of an IPv4 packet that is never fragmented.
    """
    flags, kind, _, _, transport, place = _VNET.unpack_from(head)
    if flags != _NEEDS_CHECKSUM or kind or place != 6:
        return None
    ip = head[VNET_HEADER_SIZE + _ETHERNET :]
    if head[22:24] == _IPV4_TYPE and transport == _ETHERNET + 20 and ip[9] == _UDP_PROTOCOL:
        if ip[6:8] != _DONT_FRAGMENT:
            return None
        return head[:28] + head[30:34] + head[36:52]
    if head[22:24] == _IPV6_TYPE and transport == _ETHERNET + _IPV6_HEADER and ip[6] == _UDP_PROTOCOL:
        return head[:72]
    return None


def joined_datagrams(head: bytes, payload: int, count: int) -> bytes:
    """The headers of a segment of `count` datagrams of `payload` bytes each; `head` is the first one's."""
    _, _, _, _, transport, place = _VNET.unpack_from(head)
    headers = transport + _UDP_HEADER
    made = bytearray(head[: VNET_HEADER_SIZE + headers])
    _VNET.pack_into(made, 0, _NEEDS_CHECKSUM, _UDP, headers, payload, transport, place)
    length = _UDP_HEADER + count * payload
    _set_packet_length(made, VNET_HEADER_SIZE + _ETHERNET, transport - _ETHERNET + length, 0)
    struct.pack_into(">H", made, VNET_HEADER_SIZE + transport + 4, length)
    one = _UDP_HEADER + payload
    _add_to_checksum(made, VNET_HEADER_SIZE + transport + place, (~one & 0xFFFF) + length)
    return bytes(made)


def most_datagrams(payload: int) -> int:
    """How many datagrams of `payload` bytes fit a segment."""
    return (_LONGEST_PACKET - _IPV6_HEADER - _UDP_HEADER) // max(1, payload)


def with_checksum(frame: bytes) -> bytes:
    """A frame, virtio_net_hdr first, with the checksum that was left to the card (RFC 1071)."""
    flags, _, _, _, start, place = _VNET.unpack_from(frame)
    if not flags & _NEEDS_CHECKSUM:
        return frame
    begin = VNET_HEADER_SIZE + start
    covered = frame[begin:]
    # The field holds the sum of the pseudo-header. 2^16 is 1 modulo 2^16 - 1, so this is the sum of all words.
    total = int.from_bytes(covered + b"\0" * (len(covered) % 2)) % 0xFFFF
    made = bytearray(frame)
    _VNET.pack_into(made, 0, 0, 0, 0, 0, 0, 0)
    struct.pack_into(">H", made, begin + place, (0xFFFF - total) or 0xFFFF)
    return bytes(made)


def _set_packet_length(head: bytearray, network: int, length: int, after: int) -> None:
    """Of an IP header; an IPv4 one also gets the identification of the frame `after` so many others."""
    if head[network] >> 4 == 6:
        struct.pack_into(">H", head, network + 4, length - _IPV6_HEADER)
        return
    struct.pack_into(">H", head, network + 2, length)
    (identification,) = struct.unpack_from(">H", head, network + 4)
    struct.pack_into(">H", head, network + 4, (identification + after) & 0xFFFF)
    struct.pack_into(">H", head, network + 10, 0)
    words = head[network : network + 4 * (head[network] & 0xF)]
    struct.pack_into(">H", head, network + 10, 0xFFFF - int.from_bytes(words) % 0xFFFF)


def _add_to_checksum(head: bytearray, place: int, difference: int) -> None:
    """Adds to a sum in ones' complement that is not yet inverted."""
    (total,) = struct.unpack_from(">H", head, place)
    total += difference
    total = (total & 0xFFFF) + (total >> 16)
    struct.pack_into(">H", head, place, (total & 0xFFFF) + (total >> 16))
