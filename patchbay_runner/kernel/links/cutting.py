"""Frames in slots, taken apart and put together: what `segments` says of headers, done to memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence

from patchbay_runner.kernel.links.frames import SlotPool
from patchbay_runner.kernel.links.segments import (
    HEADERS_LIMIT,
    VNET_HEADER_SIZE,
    Segment,
    datagram_flow,
    joined_datagrams,
    most_datagrams,
    read_segment,
    with_checksum,
)

_SEGMENT_TYPE_AT = 1
_type_at = ctypes.c_uint8.from_address
_copy = ctypes.memmove
# Enough of a frame for the headers of a datagram.
_DATAGRAM_HEADERS = VNET_HEADER_SIZE + 14 + 40 + 8


class Cutter:
    """Works on the slots of `pool`; what it makes lies in slots of its own."""

    def __init__(self, pool: SlotPool) -> None:
        self._pool = pool

    def segment(self, slot: int, length: int) -> Segment | None:
        """The segment in a slot; None when a single frame lies there, or one that cannot be cut."""
        if not _type_at(slot + _SEGMENT_TYPE_AT).value:
            return None
        return read_segment(ctypes.string_at(slot, min(length, HEADERS_LIMIT)), length)

    def cut(self, slot: int, segment: Segment, first: int, count: int) -> tuple[int, int]:
        """Copies `count` frames of a segment from the frame `first` on; where they lie, and their length."""
        head, payload = segment.piece(first, count), segment.length(first, count)
        (made,) = self._pool.take(1)
        source = slot + VNET_HEADER_SIZE + segment.headers + first * segment.frame_payload
        _copy(made, head, len(head))
        _copy(made + len(head), source, payload)
        return made, len(head) + payload

    def copy(self, slot: int, length: int) -> int:
        """A copy of a frame."""
        (made,) = self._pool.take(1)
        _copy(made, slot, length)
        return made

    def damage(self, slot: int, length: int, where: float) -> None:
        """Flips one bit of a frame behind its Ethernet header; `where` from 0 to 1 says which."""
        frame = ctypes.string_at(slot, length)
        bits = 8 * (length - VNET_HEADER_SIZE - 14)
        if bits <= 0:
            return
        damaged = bytearray(with_checksum(frame))
        at, bit = divmod(int(where * bits), 8)
        damaged[VNET_HEADER_SIZE + 14 + at] ^= 1 << bit
        _copy(slot, bytes(damaged), length)

    def join(self, slots: Sequence[int], lengths: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
        """The same frames with neighbouring datagrams of one flow and size in one segment.

        Returns slots, lengths, and how many frames lie in each. The slots that were given can be reused.
        """
        found: tuple[list[int], list[int], list[int]] = [], [], []
        position = 0
        while position < len(slots):
            slot, length = slots[position], lengths[position]
            count, head = self._run(slots, lengths, position)
            if count > 1:
                slot, length = self._joined(slots[position : position + count], length, head)
            for column, value in zip(found, (slot, length, count), strict=True):
                column.append(value)
            position += count
        return found

    def _run(self, slots: Sequence[int], lengths: Sequence[int], position: int) -> tuple[int, bytes]:
        """How many frames from `position` on can be joined, and the first one's headers."""
        length = lengths[position]
        end = position + 1
        while end < len(slots) and lengths[end] == length:
            end += 1
        if end == position + 1 or length <= _DATAGRAM_HEADERS:
            return 1, b""
        head = ctypes.string_at(slots[position], _DATAGRAM_HEADERS)
        flow = datagram_flow(head)
        if flow is None:
            return 1, b""
        end = min(end, position + most_datagrams(_payload(head, length)))
        count = 1
        while position + count < end:
            if datagram_flow(ctypes.string_at(slots[position + count], _DATAGRAM_HEADERS)) != flow:
                break
            count += 1
        return count, head

    def _joined(self, slots: Sequence[int], length: int, head: bytes) -> tuple[int, int]:
        payload = _payload(head, length)
        (made,) = self._pool.take(1)
        joined = joined_datagrams(head, payload, len(slots))
        _copy(made, joined, len(joined))
        at = made + len(joined)
        for slot in slots:
            _copy(at, slot + len(joined), payload)
            at += payload
        return made, at - made


def _payload(head: bytes, length: int) -> int:
    """Of a datagram; virtio_net_hdr says where its header begins, in the byte order of the machine."""
    return length - VNET_HEADER_SIZE - int.from_bytes(head[6:8], sys.byteorder) - 8
