"""Bytes that a JSON line must contain before it can match a capture.

Looking for a few bytes is a hundred times cheaper than decoding a line, and most lines of a chatty program match
nothing. A needle has to be *safe*: a line without it, and without an escape that could hide it, cannot match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from patchbay_runner.model.picks import DottedPath, parse_pick
from patchbay_runner.model.steps import Capture

# What JSON may write in another way than by itself or by \uXXXX (RFC 8259, section 7), and U+FFFD, which is what
# bytes that are not UTF-8 are read as.
_AMBIGUOUS = re.compile('["\\\\/\x00-\x1f\ufffd]')

# The only escape that can hide a needle.
HIDING_ESCAPE = b"\\u"


def needle(capture: Capture) -> bytes | None:
    """The most telling safe needle of `capture`; None when every line has to be decoded."""
    values = [value for value in capture.match.values() if isinstance(value, str)]
    found = _longest(values)
    if found is None:
        found = _longest(list(_keys(capture)))
    return found


def _keys(capture: Capture) -> Iterator[str]:
    paths = [parse_pick(key) for key in capture.match]
    if capture.pick is not None:
        paths.append(parse_pick(capture.pick))
    for path in paths:
        if isinstance(path, DottedPath):
            # A number may be an index into an array, which the text does not show.
            yield from (segment for segment in path.segments if not segment.isdigit())


def _longest(texts: list[str]) -> bytes | None:
    found = [_plain_part(text) for text in texts]
    return max((part for part in found if part), key=len, default=None)


def _plain_part(text: str) -> bytes:
    """The longest part of a JSON string's bytes that can be written in one way only, leaving \\u aside."""
    parts = _AMBIGUOUS.split(text)
    if len(parts) == 1:
        return f'"{text}"'.encode()
    return max(parts, key=len).encode()
