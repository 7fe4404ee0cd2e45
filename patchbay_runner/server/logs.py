"""Windows into logs, and searching them, by bytes: a log of two gigabytes costs what its window costs."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from typing import NamedTuple

from patchbay_runner.server.jsonlines import line_start, next_line
from patchbay_runner.server.lineindex import LineIndex, LineIndexes
from patchbay_runner.server.rooted import read_at
from patchbay_runner.server.shapes import Match, Matches, Window

# Of a longer line only the beginning is given.
LONGEST_LINE_BYTES = 64 << 10
_BACK_BYTES = 64 << 10
_SEARCH_BYTES = 1 << 20
_SEARCH_S = 0.5


class _Line(NamedTuple):
    offset: int
    data: bytes


class LogReader:
    """One open log. `is_over` says that nobody writes it any more, so a last line without an end is one."""

    def __init__(self, descriptor: int, indexes: LineIndexes, *, is_over: bool) -> None:
        self._descriptor = descriptor
        self._indexes = indexes
        self.size = os.fstat(descriptor).st_size
        self._is_over = is_over

    def after(self, place: int, limit: int) -> Window:
        """Lines that begin at `place` or later."""
        return self._from(line_start(self._descriptor, place), limit)

    def at(self, place: int, limit: int) -> Window:
        """Lines from the one that `place` is in."""
        return self._from(self._beginning(min(max(place, 0), self.size)), limit)

    def line(self, number: int, limit: int) -> Window:
        """Lines from the one with this number, counted from 1."""
        return self._from(self._index().place_of(self._descriptor, number - 1), limit)

    def before(self, place: int | None, limit: int) -> Window:
        """The last lines that end at or before `place`; before the end when it is None."""
        end = self.size if place is None else min(max(place, 0), self.size)
        if not (self._is_over and end == self.size):
            end = self._beginning(end)
        start = line_start(self._descriptor, end - limit) if end > limit else 0
        if start >= end > 0:
            start = self._beginning(end - 1)
            return self._window(start, [self._long_line(start, end)], end)
        return self._window(start, _split(start, read_at(self._descriptor, start, end - start)), end)

    def search(self, text: str, place: int, most: int, *, is_case_kept: bool) -> Matches:
        """Lines with `text` that begin at `place` or later, as many as are found in half a second, or a piece more."""
        pattern = re.compile(re.escape(text.encode()), 0 if is_case_kept else re.IGNORECASE)
        place = line_start(self._descriptor, place)
        deadline = time.monotonic() + _SEARCH_S
        matches: list[Match] = []
        index = self._index()
        while place < self.size and len(matches) < most:
            data = read_at(self._descriptor, place, _SEARCH_BYTES)
            whole = data[: data.rfind(b"\n") + 1] or data
            first = index.line_at(self._descriptor, place)
            for offset, line in _lines_with(pattern, whole):
                if len(matches) == most:
                    return Matches(matches=tuple(matches), next=place + offset, is_end=False)
                number = None if first is None else first + 1 + whole.count(b"\n", 0, offset)
                matches.append(_match(place + offset, number, line, pattern))
            place += len(whole)
            if time.monotonic() >= deadline:
                break
        return Matches(matches=tuple(matches), next=place, is_end=place >= self.size)

    def _index(self) -> LineIndex:
        return self._indexes.of(self._descriptor)

    def _beginning(self, place: int) -> int:
        """Where the line that `place` is in begins; `place` itself when one does there."""
        end = place
        while end > 0:
            start = max(0, end - _BACK_BYTES)
            found = read_at(self._descriptor, start, end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def _from(self, start: int, limit: int) -> Window:
        data = read_at(self._descriptor, start, limit)
        whole = data[: data.rfind(b"\n") + 1]
        if self._is_over and start + len(data) >= self.size:
            whole = data
        if data and not whole:
            return self._one_line(start)
        return self._window(start, _split(start, whole), start + len(whole))

    def _one_line(self, start: int) -> Window:
        """A line that is longer than the limit, or that is being written."""
        end = next_line(self._descriptor, start, self.size)
        if self._is_over or read_at(self._descriptor, end - 1, 1) == b"\n":
            return self._window(start, [self._long_line(start, end)], end)
        return self._window(start, [], start)

    def _long_line(self, start: int, end: int) -> _Line:
        data = read_at(self._descriptor, start, min(end - start, LONGEST_LINE_BYTES + 1))
        return _Line(start, data.removesuffix(b"\n"))

    def _window(self, start: int, lines: list[_Line], end: int) -> Window:
        index = self._index()
        first, last = index.line_at(self._descriptor, start), index.line_at(self._descriptor, self.size)
        has_rest = self.size > 0 and read_at(self._descriptor, self.size - 1, 1) != b"\n"
        return Window(
            size=self.size,
            start=start,
            end=end,
            first_line=None if first is None else first + 1,
            total_lines=None if last is None else last + has_rest,
            offsets=tuple(line.offset for line in lines),
            lines=tuple(_text(line.data) for line in lines),
            cut=tuple(number for number, line in enumerate(lines) if len(line.data) > LONGEST_LINE_BYTES),
        )


def _split(start: int, data: bytes) -> list[_Line]:
    lines = []
    for line in data.removesuffix(b"\n").split(b"\n") if data else ():
        lines.append(_Line(start, line))
        start += len(line) + 1
    return lines


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r")[:LONGEST_LINE_BYTES].decode(errors="replace")


def _lines_with(pattern: re.Pattern[bytes], data: bytes) -> Iterator[_Line]:
    behind = 0
    for match in pattern.finditer(data):
        if match.start() < behind:
            continue
        start = data.rfind(b"\n", 0, match.start()) + 1
        end = data.find(b"\n", match.end())
        behind = len(data) if end < 0 else end + 1
        yield _Line(start, data[start : len(data) if end < 0 else end])


def _match(offset: int, number: int | None, line: bytes, pattern: re.Pattern[bytes]) -> Match:
    text = _text(line)
    found = re.finditer(pattern.pattern.decode(), text, (pattern.flags & re.IGNORECASE) | re.ASCII)
    spans = tuple((_utf16_length(text[: each.start()]), _utf16_length(text[: each.end()])) for each in found)
    return Match(offset=offset, line=number, text=text, spans=spans)


def _utf16_length(text: str) -> int:
    return len(text) + sum(char > "\uffff" for char in text)
