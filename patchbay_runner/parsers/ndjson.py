"""JSON on lines: `match` and `pick` on every line that is JSON; other lines are passed over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from patchbay_runner.model.picks import DottedPath, parse_pick
from patchbay_runner.model.steps import Capture
from patchbay_runner.parsers.needles import HIDING_ESCAPE, needle
from patchbay_runner.parsers.regex import regex_value
from patchbay_runner.parsers.values import MISSING, as_text, decode_value, equality, lookup, picker

Selector = Callable[[Any], Iterable[Any]]


def match_path(key: str) -> DottedPath:
    """The path of a `match` key. Raises ValueError when it is none."""
    path = parse_pick(key)
    if not isinstance(path, DottedPath):
        raise ValueError(f"{key!r}: a match key is a dotted path")
    return path


def selector(capture: Capture) -> Selector:
    """What `capture` takes from one decoded value: nothing unless all of `match` holds, then what `pick` finds."""
    guards = [(lookup(match_path(key)), equality(expected)) for key, expected in capture.match.items()]
    pick = picker(capture.pick or ".")
    if not guards:
        return pick

    def select(value: Any) -> Iterable[Any]:
        for find, holds in guards:
            if not holds(find(value)):
                return ()
        return pick(value)

    return select


class _Rule:
    """One capture. A capture that also has a regular expression tries it first, on the raw line."""

    def __init__(self, capture: Capture) -> None:
        self.name = capture.name
        self.pattern = re.compile(capture.regex) if capture.regex is not None else None
        self.select = selector(capture)

    def apply(self, line: bytes, value: Any, values: list[str]) -> None:
        if self.pattern is not None:
            found = self.pattern.search(line.decode("utf-8", "replace").rstrip("\r\n"))
            if found is not None:
                values.append(regex_value(found))
        if value is not MISSING:
            values.extend(map(as_text, self.select(value)))


class NdjsonMatcher:
    """Applies captures to the lines of a block; decodes only lines that can matter.

    `use_needles` False decodes every line, which gives the same values and is there for that comparison.
    """

    def __init__(self, captures: Sequence[Capture], *, use_needles: bool = True) -> None:
        self._groups: dict[bytes | None, list[_Rule]] = {}
        for capture in captures:
            mark = needle(capture) if use_needles and capture.regex is None else None
            self._groups.setdefault(mark, []).append(_Rule(capture))

    def match(self, block: bytes) -> Iterator[tuple[str, list[str]]]:
        # Most blocks have no backslash at all, which is found out much faster than that they have no \u.
        may_hide = b"\\" in block and HIDING_ESCAPE in block
        for mark, rules in self._groups.items():
            found: list[list[str]] = [[] for _ in rules]
            for line in _candidates(block, mark, may_hide):
                value = decode_value(line)
                for rule, values in zip(rules, found, strict=True):
                    rule.apply(line, value, values)
            yield from ((rule.name, values) for rule, values in zip(rules, found, strict=True) if values)


def _candidates(block: bytes, mark: bytes | None, may_hide: bool) -> Iterable[bytes]:
    if mark is None:
        return block.removesuffix(b"\n").split(b"\n")
    spans: Iterable[tuple[int, int]] = _spans(block, mark)
    if may_hide:
        spans = sorted({*spans, *_spans(block, HIDING_ESCAPE)})
    return (block[begin:end] for begin, end in spans)


def _spans(block: bytes, mark: bytes) -> Iterator[tuple[int, int]]:
    """Where the lines of `block` that hold `mark` begin and end."""
    end = 0
    while (position := block.find(mark, end)) >= 0:
        begin = block.rfind(b"\n", end, position) + 1 or end
        end = block.index(b"\n", position) + 1
        yield begin, end
