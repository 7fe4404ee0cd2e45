"""The header that packet sockets put before a frame (linux/virtio_net.h): which work is left to a device."""

from __future__ import annotations

import struct
from typing import NamedTuple

from patchbay_runner.kernel.nat64 import checksums

HEADER = struct.Struct("=BBHHHH")
HEADER_SIZE = HEADER.size
ETHERNET_HEADER = 14

NEEDS_CHECKSUM = 1
_NO_SEGMENTATION, _TCP_V4, _TCP_V6, _UDP = 0, 1, 4, 5
_CONGESTION_NOTIFIED = 0x80
OTHER_SEGMENTATION = {_NO_SEGMENTATION: 0, _TCP_V4: _TCP_V6, _TCP_V6: _TCP_V4, _UDP: _UDP}
OTHER_SEGMENTATION |= {
    kind | _CONGESTION_NOTIFIED: new | _CONGESTION_NOTIFIED for kind, new in OTHER_SEGMENTATION.items()
}


class Offload(NamedTuple):
    """The header's fields. Offsets count from the frame's beginning, `segment_size` is the payload of a segment."""

    flags: int
    segmentation: int
    header_length: int
    segment_size: int
    checksum_start: int
    checksum_offset: int

    @property
    def needs_checksum(self) -> bool:
        return bool(self.flags & NEEDS_CHECKSUM)

    @property
    def transport_header(self) -> int:
        """The bytes of the transport's header: a TCP checksum stands at 16, a UDP one at 6 and ends its header."""
        return 20 if self.checksum_offset == 16 else 8

    def moved(self, ip_header: int) -> Offload:
        """For the same payload behind an IP header of the other version, which has `ip_header` bytes."""
        start = ETHERNET_HEADER + ip_header
        return self._replace(
            flags=NEEDS_CHECKSUM,
            segmentation=OTHER_SEGMENTATION[self.segmentation],
            header_length=start + self.transport_header,
            checksum_start=start,
        )


NOTHING_LEFT = HEADER.pack(0, 0, 0, 0, 0, 0)


def with_checksum(packet: bytes, offload: Offload) -> bytes:
    """The packet with the checksum that a device would put in."""
    start = offload.checksum_start - ETHERNET_HEADER
    at = start + offload.checksum_offset
    total = checksums.checksum(checksums.word_sum(packet[start:]))
    return packet[:at] + total.to_bytes(2) + packet[at + 2 :]
