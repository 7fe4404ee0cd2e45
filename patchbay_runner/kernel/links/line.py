"""What one direction of a link does to its packets: which are dropped, when the others leave. Pure.

A frame's way: loss, the queue (tail drop), serialisation at the asked rate, propagation delay with jitter.
"""

from __future__ import annotations

import msgspec

from patchbay_runner.kernel.links.chance import CORRUPT, DUPLICATE, EARLY, Chance
from patchbay_runner.model.links import LinkCondition

NS_PER_MS = 1_000_000
# The depth of the queue before a rate when none is asked for, as the reference's token bucket has it.
DEFAULT_BUFFER_MS = 400.0

DROPPED = -1
_CERTAIN = (False, 0.0, 0)


class LineCounters(msgspec.Struct, frozen=True):
    """What a line has done with its frames. Bytes are frame bytes with the Ethernet header.

    `lost` fell to the asked loss, `overflowed` to a full queue. `queue_peak_bytes` is the most that ever waited.
    `delay_total_ms` is what all frames that passed were held up together.
    """

    packets: int = 0
    bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    reordered: int = 0
    duplicated: int = 0
    corrupted: int = 0
    queue_peak_bytes: int = 0
    delay_total_ms: float = 0.0


class Line:
    """One direction of a link. `name` and `seed` choose its random streams.

    Frames to a group have streams of their own: a host's multicast chatter comes at times of its own, and must not
    decide which of a program's packets are lost.
    """

    def __init__(self, condition: LinkCondition, name: str = "", seed: int = 0) -> None:
        self._name = f"{seed}/{name}"
        self._generation = 0
        self._packets = self._bytes = self._lost = self._overflowed = 0
        self._reordered = self._duplicated = self._corrupted = self._queue_peak_bytes = 0
        self._peak_ns = self._free_at_ns = 0.0
        self._last_ns = self._delay_total_ns = 0
        self._ns_per_byte = 0.0
        self.change(condition)

    def change(self, condition: LinkCondition) -> None:
        """Takes a new condition. Frames admitted already keep their departure; the random streams start afresh."""
        self._fold_peak()
        self.condition = condition
        self.latency_ns = round(condition.latency_ms * NS_PER_MS)
        self._jitter_ns = condition.jitter_ms * NS_PER_MS
        self._ns_per_byte = 8e6 / condition.rate_kbit if condition.rate_kbit else 0.0
        self._free_at_ns = 0.0
        self._buffer_ns = (condition.buffer_ms or DEFAULT_BUFFER_MS) * NS_PER_MS
        name = f"{self._name}/{self._generation}"
        self._chance, self._group_chance = Chance(condition, name), Chance(condition, f"{name}/group")
        self.draw_bit = self._chance.draw_bit
        self._is_certain = not self._chance.matters
        self._generation += 1

    def admit(self, arrival_ns: int, length: int, to_group: bool = False) -> tuple[int, int]:
        """The fate of the next frame: when it leaves, and flags; (DROPPED, 0) when it never does.

        Frames are given in the order of their arrival. Departures never decrease, and those of EARLY frames never
        decrease among themselves.
        """
        self._packets += 1
        self._bytes += length
        if self._is_certain:
            lost, jitter, flags = _CERTAIN
        else:
            lost, jitter, flags = (self._group_chance if to_group else self._chance).draw()
        if lost:
            self._lost += 1
            return DROPPED, 0
        sent_ns = arrival_ns
        if self._ns_per_byte:
            waiting_ns = max(0.0, self._free_at_ns - arrival_ns)
            if waiting_ns > self._buffer_ns:
                self._overflowed += 1
                return DROPPED, 0
            waiting_ns += length * self._ns_per_byte
            self._free_at_ns = arrival_ns + waiting_ns
            self._peak_ns = max(self._peak_ns, waiting_ns)
            sent_ns = int(self._free_at_ns)
        if flags:
            self._count(flags)
            if flags & EARLY:
                self._delay_total_ns += sent_ns - arrival_ns
                return sent_ns, flags
        delay_ns = max(0, self.latency_ns + int(jitter * self._jitter_ns))
        self._last_ns = departure_ns = max(self._last_ns, sent_ns + delay_ns)
        self._delay_total_ns += departure_ns - arrival_ns
        return departure_ns, flags

    @property
    def is_plain(self) -> bool:
        """Whether all frames that arrive together leave together."""
        return self._is_certain and not self._ns_per_byte

    def admit_all(self, arrival_ns: int, count: int, length: int) -> int:
        """The same for `count` frames of `length` bytes together, on a plain line; when they leave."""
        self._packets += count
        self._bytes += length
        self._last_ns = departure_ns = max(self._last_ns, arrival_ns + self.latency_ns)
        self._delay_total_ns += count * (departure_ns - arrival_ns)
        return departure_ns

    def refuse(self) -> None:
        """Takes note that an admitted frame found no room."""
        self._overflowed += 1

    def counters(self) -> LineCounters:
        self._fold_peak()
        return LineCounters(
            packets=self._packets,
            bytes=self._bytes,
            lost=self._lost,
            overflowed=self._overflowed,
            reordered=self._reordered,
            duplicated=self._duplicated,
            corrupted=self._corrupted,
            queue_peak_bytes=self._queue_peak_bytes,
            delay_total_ms=self._delay_total_ns / NS_PER_MS,
        )

    def _count(self, flags: int) -> None:
        self._reordered += bool(flags & EARLY)
        self._duplicated += bool(flags & DUPLICATE)
        self._corrupted += bool(flags & CORRUPT)

    def _fold_peak(self) -> None:
        """Turns the longest wait into bytes while the rate that it was measured at still holds."""
        if self._peak_ns:
            self._queue_peak_bytes = max(self._queue_peak_bytes, round(self._peak_ns / self._ns_per_byte))
            self._peak_ns = 0.0
