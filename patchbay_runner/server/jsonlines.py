"""events.jsonl and metrics.jsonl: whole lines from any place, of files that still grow."""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec

from patchbay_runner.server.rooted import read_at

# How much is read at once; a line may be longer, up to the second.
PIECE_BYTES = 256 << 10
_LONGEST_LINE_BYTES = 16 << 20
_TAIL_BYTES = 64 << 10

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Opid(msgspec.Struct, frozen=True):
    """The number of an event."""

    opid: int


_opid = msgspec.json.Decoder(Opid)


class Piece(NamedTuple):
    """JSON objects, as they stand in the file between two places."""

    start: int
    end: int
    lines: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """A JSON list."""
        return b"[" + b",".join(self.lines) + b"]"


def read_piece(descriptor: int, start: int, limit: int = PIECE_BYTES, most_lines: int | None = None) -> Piece:
    """Whole lines from `start`, which is where one begins. `end` is `start` when there is none yet."""
    data = read_at(descriptor, start, limit)
    while len(data) >= limit and b"\n" not in data and len(data) < _LONGEST_LINE_BYTES:
        more = read_at(descriptor, start + len(data), len(data))
        if not more:
            break
        data += more
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and len(data) >= _LONGEST_LINE_BYTES:
        return Piece(start, start + len(data), ())  # no line of ours; what is left of it will be no JSON
    lines = whole.split(b"\n")[:-1]
    if most_lines is not None and len(lines) > most_lines:
        del lines[most_lines:]
    end = start + sum(map(len, lines)) + len(lines)
    return Piece(start, end, tuple(line for line in map(_as_object, lines) if line))


def whole_end(descriptor: int) -> int:
    """Where the last whole line ends."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        found = read_at(descriptor, start, end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def line_start(descriptor: int, place: int) -> int:
    """`place` if a line begins there, else where the next one does; the end of the file at most."""
    size = os.fstat(descriptor).st_size
    place = max(0, min(place, size))
    if place == 0 or read_at(descriptor, place - 1, 1) == b"\n":
        return place
    return next_line(descriptor, place, size)


def next_line(descriptor: int, place: int, size: int) -> int:
    """Where the line behind the one at `place` begins."""
    while place < size:
        data = read_at(descriptor, place, _TAIL_BYTES)
        found = data.find(b"\n")
        if found >= 0:
            return place + found + 1
        if not data:
            break
        place += len(data)
    return size


def place_behind(descriptor: int, opid: int) -> int:
    """Where the first event after `opid` begins. Events have numbers that grow, so halving finds it."""
    low, high = 0, whole_end(descriptor)
    while low < high:
        middle = line_start(descriptor, (low + high) // 2)
        if middle >= high:
            middle = low
        end = next_line(descriptor, middle, high)
        if _opid_at(descriptor, middle, end) > opid:
            if middle == low:
                return low
            high = middle
        else:
            low = end
    return low


def opid_of(line: bytes) -> int:
    """The number of an event; -1 of what is none."""
    try:
        return _opid.decode(line).opid
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return -1


def _opid_at(descriptor: int, start: int, end: int) -> int:
    return opid_of(read_at(descriptor, start, end - start))


def _as_object(line: bytes) -> bytes:
    """A line as part of a JSON list and of a server-sent event; empty when it is no object."""
    try:
        _object.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return b""
    return line.replace(b"\r", b" ")  # white space between tokens: inside a text it would not have been JSON
