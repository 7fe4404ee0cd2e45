"""What is captured of a sim's packets."""

from __future__ import annotations

import msgspec

# As much as tcpdump takes: more than the longest packet.
WHOLE_PACKETS = 262_144
# Enough for the headers of Ethernet, IPv4 and UDP.
LEAST_SNAP_LENGTH = 42
# A file is half of it, and has to hold some of the longest packets.
LEAST_BYTES, MOST_BYTES = 250_000, 1_000_000_000_000


class PacketCapture(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much is kept: at most `max_bytes` of each interface, the newest, and `snap_length` bytes of each packet."""

    max_bytes: int = 64_000_000
    snap_length: int = WHOLE_PACKETS
