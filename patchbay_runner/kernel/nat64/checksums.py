"""The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

Sums are of 16-bit words modulo 65,535. A result is never zero, which is the same checksum as 65,535 to every receiver
and the only form in which UDP may carry it.
"""

from __future__ import annotations

ONES = 0xFFFF


def word_sum(data: bytes | memoryview) -> int:
    """The sum of the 16-bit words of `data`, an odd last byte padded with zero."""
    number = int.from_bytes(data)
    return (number << 8 if len(data) & 1 else number) % ONES


def pseudo_header_sum(source: bytes, destination: bytes, protocol: int, length: int) -> int:
    """What a transport's checksum covers beside itself: the same words for IPv4 and IPv6."""
    return (word_sum(source) + word_sum(destination) + protocol + length) % ONES


def checksum(total: int) -> int:
    """The checksum of words that add up to `total`."""
    return ONES - total % ONES


def adjusted(old: int, difference: int) -> int:
    """A checksum after `difference` (new words minus old ones) came to what it covers."""
    return ONES - (ONES - old + difference) % ONES
