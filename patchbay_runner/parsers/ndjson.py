"""JSON on lines: `match` and `pick` on every line that is JSON; other lines are passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from patchbay_runner.model.picks import DottedPath, parse_pick
from patchbay_runner.model.steps import Capture
from patchbay_runner.parsers.needles import HIDING_ESCAPE, needle
from patchbay_runner.parsers.regex import compile_pattern, regex_value
from patchbay_runner.parsers.values import MISSING, as_text, decode, decode_value, equality, lookup, picker

# When more than one line in this many holds the needle, splitting the block is faster than looking for them.
_DENSE = 3

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
    if len(guards) == 1:
        find_only, holds_only = guards[0]
        return lambda value: pick(value) if holds_only(find_only(value)) else ()

    def select(value: Any) -> Iterable[Any]:
        for find, holds in guards:
            if not holds(find(value)):
                return ()
        return pick(value)

    return select


class NdjsonMatcher:
    """Applies captures to the lines of a block; decodes only lines that can matter.

    `use_needles` False decodes every line, which gives the same values and is there for that comparison.
    """

    def __init__(self, captures: Sequence[Capture], *, use_needles: bool = True) -> None:
        self._groups: dict[bytes | None, list[tuple[str, Selector]]] = {}
        for capture in captures:
            mark = needle(capture) if use_needles else None
            self._groups.setdefault(mark, []).append((capture.name, selector(capture)))

    def match(self, block: bytes) -> Iterator[tuple[str, list[str]]]:
        # Most blocks have no backslash at all, which is found out much faster than that they have no \u.
        may_hide = b"\\" in block and HIDING_ESCAPE in block
        for mark, rules in self._groups.items():
            found: list[list[str]] = [[] for _ in rules]
            takers = [(select, values.append) for (_, select), values in zip(rules, found, strict=True)]
            for line in _candidates(block, mark, may_hide=may_hide):
                try:
                    value = decode(line)
                except (ValueError, RecursionError):
                    value = decode_value(line)
                for select, take in takers:
                    for picked in select(value):
                        take(picked if type(picked) is str else as_text(picked))
            yield from ((name, values) for (name, _), values in zip(rules, found, strict=True) if values)


class PatternOrPickMatcher:
    """A capture that has both a regular expression and a pick: on every line first the one, then the other."""

    def __init__(self, capture: Capture) -> None:
        self._name = capture.name
        self._pattern = compile_pattern(capture.regex or "")
        self._select = selector(capture)

    def match(self, block: bytes) -> Iterator[tuple[str, list[str]]]:
        values = [value for line in _candidates(block, None, may_hide=False) for value in self._values(line)]
        if values:
            yield self._name, values

    def _values(self, line: bytes) -> Iterator[str]:
        found = self._pattern.search(line.decode("utf-8", "replace").removesuffix("\r"))
        if found is not None:
            yield regex_value(found)
        value = decode_value(line)
        if value is not MISSING:
            yield from map(as_text, self._select(value))


def _candidates(block: bytes, mark: bytes | None, *, may_hide: bool) -> Iterable[bytes]:
    if mark is None or block.count(mark) * _DENSE > block.count(b"\n"):
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
