"""The lab's one resolver: which zone a client sees, and replies to queries. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from patchbay_runner.kernel.dns.dns64 import Dns64
from patchbay_runner.kernel.dns.lookup import Outcome, look_up
from patchbay_runner.kernel.dns.messages import Question, reply_to
from patchbay_runner.kernel.dns.zone import Zone
from patchbay_runner.model.names import Address

# Replies are a tenth of a millisecond's work, and programs ask the same again and again.
_KEPT_REPLIES = 4096


class Resolver:
    """Answers from `zone`, or from a client's own, by the address that the client asks from.

    A reply is made once for each view and each different query, and the same bytes serve until the zones change.
    """

    def __init__(self, zone: Zone, zones: Mapping[Address, Zone] | None = None) -> None:
        self._replies: dict[tuple[Zone, Dns64 | None, bool, bytes], bytes | None] = {}
        self._zone = zone
        self._zones: Mapping[Address, Zone] = zones or {}
        self._draw: Callable[[], tuple[Zone, Mapping[Address, Zone]]] | None = None

    def change(self, zone: Zone, zones: Mapping[Address, Zone]) -> None:
        """From now on answers come from these."""
        self._zone = zone
        self._zones = zones
        self._draw = None
        self._replies.clear()

    def change_later(self, draw: Callable[[], tuple[Zone, Mapping[Address, Zone]]]) -> None:
        """The same with what `draw` gives when the next query comes, for zones that change more often than that."""
        self._draw = draw

    def reply(self, query: bytes, client: Address, dns64: Dns64 | None = None, *, is_udp: bool = True) -> bytes | None:
        """The reply to a query of the client; None where there is none."""
        if self._draw is not None:
            self.change(*self._draw())
        zone = self._zones.get(client, self._zone)
        key = (zone, dns64, is_udp, query[2:])
        if key in self._replies:
            kept = self._replies[key]
            return None if kept is None else query[:2] + kept
        reply = reply_to(query, lambda question: _answer(zone, question, dns64), is_udp=is_udp)
        if len(self._replies) >= _KEPT_REPLIES:
            self._replies.clear()
        self._replies[key] = None if reply is None else reply[2:]
        return reply


def _answer(zone: Zone, question: Question, dns64: Dns64 | None) -> Outcome:
    return look_up(zone, question.name, question.kind, None if question.validates else dns64)
