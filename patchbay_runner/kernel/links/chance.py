"""What befalls a link's packets by chance: loss, jitter, reordering, duplication, damage. Pure.

Each kind has a random stream of its own that draws once for every packet, whatever happens to it otherwise, so that
the n-th packet meets the same fate whatever the timing of the traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from patchbay_runner.model.links import LinkCondition

EARLY, DUPLICATE, CORRUPT = 1, 2, 4


def burst_chances(condition: LinkCondition) -> tuple[float, float]:
    """The chances that a packet begins a loss burst after one that passed, and ends one after one that was lost.

    Gilbert's two-state model: their ratio gives the loss, the second one's inverse the mean burst length. Independent
    loss is the case in which both states lose alike. Bursts too short for the asked loss become as long as they must.
    """
    loss = condition.loss_pct / 100
    if loss <= 0 or loss >= 1:
        return max(0.0, min(1.0, loss)), 1 - loss
    if not condition.loss_burst:
        return loss, 1 - loss
    leave = min(1.0, 1 / condition.loss_burst, (1 - loss) / loss)
    return loss * leave / (1 - loss), leave


class Chance:
    """The random streams of one kind of packets under one condition; `name` tells them from all others.

    `matters` is False when every draw would be the same.
    """

    __slots__ = (
        "_draw_jitter",
        "_draw_loss",
        "_enter_burst",
        "_in_burst",
        "_leave_burst",
        "_marks",
        "draw_bit",
        "matters",
    )

    def __init__(self, condition: LinkCondition, name: str) -> None:
        self._enter_burst, self._leave_burst = burst_chances(condition)
        self._in_burst = False
        self._draw_loss, self._draw_jitter = _stream(name, "loss"), _stream(name, "jitter")
        self.draw_bit = _stream(name, "bit")
        self._marks = tuple(
            (flag, percent / 100, _stream(name, purpose))
            for flag, percent, purpose in (
                (EARLY, condition.reorder_pct, "reorder"),
                (DUPLICATE, condition.duplicate_pct, "duplicate"),
                (CORRUPT, condition.corrupt_pct, "corrupt"),
            )
            if percent
        )
        self.matters = bool(self._enter_burst or self._marks or condition.jitter_ms)

    def draw(self) -> tuple[bool, float, int]:
        """Of the next packet: whether it is lost, its share of the jitter (-1 to 1), and its flags."""
        flags = 0
        for flag, chance, draw in self._marks:
            if draw() < chance:
                flags |= flag
        if self._enter_burst:
            drawn = self._draw_loss()
            self._in_burst = drawn >= self._leave_burst if self._in_burst else drawn < self._enter_burst
        return self._in_burst, 2.0 * self._draw_jitter() - 1.0, flags


def _stream(name: str, purpose: str) -> Callable[[], float]:
    return Random(f"{name}/{purpose}").random
