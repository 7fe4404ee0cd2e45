"""What a translator counts, in memory that it shares with whoever started it."""

from __future__ import annotations

import mmap

# Packets sent, by direction; packets dropped, by cause. `unsent` ones were refused by the link.
COUNTERS = (
    "to_ipv4",
    "to_ipv6",
    "dropped_address",
    "dropped_checksum",
    "dropped_extension_header",
    "dropped_icmp_type",
    "dropped_malformed",
    "dropped_protocol",
    "dropped_segmentation",
    "dropped_source_route",
    "dropped_too_big",
    "dropped_unsent",
    "dropped_unsummed_fragment",
)
_SIZE = 8


class SharedCounters:
    """One 64-bit number a counter, written by one process and read by another."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _SIZE * len(COUNTERS))
        self.numbers = memoryview(self._memory).cast("Q")

    def read(self) -> dict[str, int]:
        return dict(zip(COUNTERS, self.numbers, strict=True))

    def close(self) -> None:
        self.numbers.release()
        self._memory.close()
