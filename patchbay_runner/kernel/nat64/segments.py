"""What is corrected inside TCP segments and UDP datagrams: checksums, and the largest segment that TCP announces."""

from __future__ import annotations

from dataclasses import replace

from patchbay_runner.kernel.nat64 import checksums
from patchbay_runner.kernel.nat64.headers import TCP, UDP, Datagram

CHECKSUM_OFFSET = {TCP: 16, UDP: 6}
TCP_FLAGS, SYN = 13, 0x02

_TCP_HEADER = 20
_END_OF_OPTIONS, _NO_OPERATION, _MAXIMUM_SEGMENT_SIZE = 0, 1, 2


def with_adjusted_checksum(payload: bytes, at: int, difference: int, partial: bool) -> bytes:
    """`payload` after `difference` came to its pseudo-header. A partial checksum is the plain sum of that header."""
    old = int.from_bytes(payload[at : at + 2])
    new = (old + difference) % checksums.ONES if partial else checksums.adjusted(old, difference)
    return payload[:at] + new.to_bytes(2) + payload[at + 2 :]


def clamped(datagram: Datagram, limit: int, partial: bool) -> Datagram:
    """The datagram with the maximum segment size of a SYN lowered to `limit` bytes, where it is larger."""
    segment = datagram.payload
    if len(segment) < _TCP_HEADER or not segment[TCP_FLAGS] & SYN or datagram.fragment is not None:
        return datagram
    header = segment[: (segment[12] >> 4) * 4]
    at = _segment_size_option(header)
    if at is None or int.from_bytes(header[at : at + 2]) <= limit:
        return datagram
    changed = header[:at] + limit.to_bytes(2) + header[at + 2 :]
    payload = changed + segment[len(header) :]
    if not partial:
        difference = checksums.word_sum(changed) - checksums.word_sum(header)
        payload = with_adjusted_checksum(payload, CHECKSUM_OFFSET[TCP], difference, partial)
    return replace(datagram, payload=payload)


def _segment_size_option(header: bytes) -> int | None:
    """Where the value of the option begins."""
    at = _TCP_HEADER
    while at + 1 < len(header) and header[at] != _END_OF_OPTIONS:
        if header[at] == _NO_OPERATION:
            at += 1
        elif header[at] == _MAXIMUM_SEGMENT_SIZE and header[at + 1] == 4 and at + 4 <= len(header):
            return at + 2
        elif header[at + 1] < 2:
            return None
        else:
            at += header[at + 1]
    return None
