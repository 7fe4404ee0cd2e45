"""Regular expressions on lines of text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from patchbay_runner.model.steps import Capture


def compile_pattern(text: str) -> re.Pattern[str]:
    """Raises ValueError for a bad regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"bad regular expression {text!r}: {error}") from error


class RegexMatcher:
    """Searches every line; a capture gets group 1 where the match has one, else the whole match."""

    def __init__(self, captures: Sequence[Capture]) -> None:
        self._patterns = [(capture.name, compile_pattern(capture.regex or "")) for capture in captures]

    def match(self, block: bytes) -> Iterator[tuple[str, list[str]]]:
        text = block.decode("utf-8", "replace")
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        lines = text.split("\n")
        lines.pop()
        for name, pattern in self._patterns:
            found = map(pattern.search, lines)
            values = [regex_value(match) for match in found if match is not None]
            if values:
                yield name, values


def regex_value(match: re.Match[str]) -> str:
    """Group 1 where it took part in the match, else the whole match."""
    group = match[1] if match.re.groups else None
    return match[0] if group is None else str(group)
