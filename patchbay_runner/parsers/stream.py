"""Parsers that work while a program runs: regular expressions on lines, and JSON on lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from patchbay_runner.model.steps import Capture, ParserName, Stream
from patchbay_runner.parsers.lines import LINE_LIMIT, LineBuffer
from patchbay_runner.parsers.ndjson import NdjsonMatcher, PatternOrPickMatcher
from patchbay_runner.parsers.regex import RegexMatcher

# Captured values by capture name, in the order of the output.
Values = dict[str, list[str]]


class BlockMatcher(Protocol):
    """Takes values out of a block of whole lines, each ended by a newline."""

    def match(self, block: bytes) -> Iterator[tuple[str, list[str]]]: ...


class StreamParser:
    """The captures of one output stream of one program, incrementally."""

    def __init__(self, matchers: Sequence[BlockMatcher], line_limit: int = LINE_LIMIT) -> None:
        self._matchers = tuple(matchers)
        self._lines = LineBuffer(line_limit)

    @property
    def cut_lines(self) -> int:
        """How many lines were too long to be looked at whole."""
        return self._lines.cut_lines

    def feed(self, chunk: bytes) -> Values:
        """The values of the lines that `chunk` completes."""
        return self._values(self._lines.feed(chunk))

    def finish(self) -> Values:
        """The values of a last line without a newline."""
        return self._values(self._lines.finish())

    def _values(self, block: bytes) -> Values:
        if not block:
            return {}
        values: Values = {}
        for matcher in self._matchers:
            for name, found in matcher.match(block):
                values.setdefault(name, []).extend(found)
        return values


def stream_parser(
    parser: ParserName, captures: Sequence[Capture], stream: Stream, line_limit: int = LINE_LIMIT
) -> StreamParser | None:
    """The parser of `stream`, or None when no capture reads it while the program runs.

    Raises ValueError for a bad regular expression or pick.
    """
    mine = [capture for capture in captures if capture.pipe == stream]
    as_text = [capture for capture in mine if capture.regex is not None]
    as_json: list[Capture] = []
    matchers: list[BlockMatcher] = []
    if parser == "ndjson":
        as_json = [capture for capture in mine if capture.pick is not None and capture.regex is None]
        matchers += [PatternOrPickMatcher(capture) for capture in as_text if capture.pick is not None]
        as_text = [capture for capture in as_text if capture.pick is None]
    if as_text:
        matchers.append(RegexMatcher(as_text))
    if as_json:
        matchers.append(NdjsonMatcher(as_json))
    return StreamParser(matchers, line_limit) if matchers else None
