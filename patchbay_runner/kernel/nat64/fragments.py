"""Cutting datagrams into fragments and putting fragments together. Pure, but for the clock that callers read.

Only ICMP is put together here: its checksum covers lengths that no single fragment tells. Fragments of everything else
are translated one by one, without state, because the addresses are all that has to be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from patchbay_runner.kernel.nat64.headers import FRAGMENT_HEADER, IPV6_HEADER, Datagram, Fragment

MAX_DATAGRAMS = 64
TIMEOUT_S = 30.0  # RFC 8200, section 4.5, gives 60; Linux gives 30 to IPv4
_MAX_PAYLOAD = 0xFFFF
_MAX_PIECES = 128  # of 1,280-byte packets, a datagram of the largest size has 54

Key = tuple[bytes, bytes, int]


@dataclass(slots=True)
class _Partial:
    deadline_s: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    end: int | None = None

    def whole(self) -> bytes | None:
        """The payload when nothing is missing."""
        if self.end is None:
            return None
        joined = bytearray()
        for offset in sorted(self.pieces):
            if offset != len(joined):
                return None
            joined += self.pieces[offset]
        return bytes(joined) if len(joined) == self.end else None


class Reassembler:
    """Datagrams of which some fragments are there. The oldest is given up for a new one when there are too many."""

    def __init__(self) -> None:
        self._partial: dict[Key, _Partial] = {}

    def __len__(self) -> int:
        return len(self._partial)

    def add(self, datagram: Datagram, now_s: float) -> Datagram | None:
        """The whole datagram once `datagram` was its last missing fragment. Overlaps give it up (RFC 5722)."""
        cut = datagram.fragment
        assert cut is not None
        self._expire(now_s)
        key = (datagram.source, datagram.destination, cut.identification)
        partial = self._partial.setdefault(key, _Partial(now_s + TIMEOUT_S))
        if len(self._partial) > MAX_DATAGRAMS:
            del self._partial[next(iter(self._partial))]
        if not _take(partial, cut, datagram.payload):
            self._partial.pop(key, None)
            return None
        payload = partial.whole()
        if payload is None:
            return None
        self._partial.pop(key, None)
        return replace(datagram, payload=payload, length=len(payload), fragment=None)

    def _expire(self, now_s: float) -> None:
        # In the order in which they came, which is the order in which they expire.
        for key in list(self._partial):
            if self._partial[key].deadline_s > now_s:
                return
            del self._partial[key]


def _take(partial: _Partial, cut: Fragment, piece: bytes) -> bool:
    """Whether the piece fits what is there; one that came before is ignored."""
    end = cut.offset + len(piece)
    if end > _MAX_PAYLOAD or len(partial.pieces) >= _MAX_PIECES or (cut.more and len(piece) % 8) or not piece:
        return False
    if partial.pieces.get(cut.offset) == piece:
        return True
    if any(at < end and cut.offset < at + len(other) for at, other in partial.pieces.items()):
        return False
    if not cut.more:
        if partial.end is not None:
            return False
        partial.end = end
    partial.pieces[cut.offset] = piece
    return partial.end is None or all(at + len(other) <= partial.end for at, other in partial.pieces.items())


def cut_for_ipv6(datagram: Datagram, mtu: int, identification: int) -> Iterator[Datagram]:
    """Fragments that each fit an IPv6 packet of `mtu` bytes. A fragment is cut further; it keeps its identification."""
    whole = datagram.fragment or Fragment(0, False, identification)
    room = (mtu - IPV6_HEADER - FRAGMENT_HEADER) // 8 * 8
    for at in range(0, len(datagram.payload), room):
        piece = datagram.payload[at : at + room]
        more = whole.more or at + room < len(datagram.payload)
        cut = Fragment(whole.offset + at, more, whole.identification)
        yield replace(datagram, payload=piece, length=len(piece), fragment=cut)
