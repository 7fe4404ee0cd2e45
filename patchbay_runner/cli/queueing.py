"""Which sim begins next, when several may run at once. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class SimQueue:
    """Sims by their index. At most `jobs` are out at once; one that runs alone is out with no other.

    Those that take company begin first and those that run alone last, each in the order given: every change between
    the two costs the wait for the slowest of those that run. One job at a time is simply the order given.
    """

    def __init__(self, alone: Sequence[bool], jobs: int) -> None:
        self._jobs = jobs
        self._alone = [is_alone and jobs > 1 for is_alone in alone]
        order = sorted(range(len(alone)), key=self._alone.__getitem__)
        self._waiting = deque(order)
        self._out: set[int] = set()

    def take(self) -> int | None:
        """The sim that begins now, or None when none may."""
        if not self._waiting or len(self._out) >= self._jobs:
            return None
        index = self._waiting[0]
        if self._out and (self._alone[index] or any(self._alone[other] for other in self._out)):
            return None
        self._out.add(index)
        return self._waiting.popleft()

    def give_back(self, index: int) -> None:
        """The sim has ended."""
        self._out.remove(index)

    def clear(self) -> None:
        """No other begins."""
        self._waiting.clear()
