"""How late frames leave: a histogram of few counters, and the verdict that follows from it. Pure."""

from __future__ import annotations

import msgspec

_SUB_BUCKETS_BITS = 4  # a bucket is at most 1/8 of its value wide
_BUCKETS = 32 << (_SUB_BUCKETS_BITS - 1)
_NS_PER_US = 1_000

# Lateness that a line may have at p99 before its link counts as untrue: the larger of these.
TOLERATED_LATENESS_MS = 1.0
TOLERATED_SHARE_OF_LATENCY = 0.1


class Lateness(msgspec.Struct, frozen=True):
    """How much later than they should frames have left, in milliseconds; percentiles are upper bounds."""

    frames: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0

    def is_tolerable(self, latency_ms: float) -> bool:
        """Whether a link that was asked for `latency_ms` was still true to it."""
        return self.p99_ms <= max(TOLERATED_LATENESS_MS, TOLERATED_SHARE_OF_LATENCY * latency_ms)


class LatenessHistogram:
    """Counts of late departures, in buckets that grow with the lateness."""

    __slots__ = ("_counts", "_max_ns")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self._max_ns = 0

    def add(self, lateness_ns: int) -> None:
        """Negative lateness, a frame sent within the grain of the timer, counts as none."""
        self._max_ns = max(self._max_ns, lateness_ns)
        self._counts[_bucket(lateness_ns // _NS_PER_US)] += 1

    def summary(self) -> Lateness:
        frames = sum(self._counts)
        if not frames:
            return Lateness()
        return Lateness(frames, self._percentile_ms(0.50), self._percentile_ms(0.99), self._max_ns / 1e6)

    def _percentile_ms(self, share: float) -> float:
        wanted = share * sum(self._counts)
        seen = 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                return min(_upper_bound_us(bucket) / 1e3, self._max_ns / 1e6)
        return self._max_ns / 1e6


def _bucket(us: int) -> int:
    if us < 1 << _SUB_BUCKETS_BITS:
        return max(us, 0)
    shift = us.bit_length() - _SUB_BUCKETS_BITS
    return min((shift << (_SUB_BUCKETS_BITS - 1)) + (us >> shift), _BUCKETS - 1)


def _upper_bound_us(bucket: int) -> int:
    if bucket < 1 << _SUB_BUCKETS_BITS:
        return bucket + 1
    half = 1 << (_SUB_BUCKETS_BITS - 1)
    shift = (bucket >> (_SUB_BUCKETS_BITS - 1)) - 1
    return ((bucket & (half - 1)) + half + 1) << shift
