"""The grammar of `pick` and of `match` keys: dotted paths, or JSONPath when the text starts with `$`."""

from __future__ import annotations

import msgspec


class DottedPath(msgspec.Struct, frozen=True):
    """`.end.streams.0.bytes`: object keys, or array indices where a segment is a number. No segment is the document."""

    segments: tuple[str, ...]


class JsonPath(msgspec.Struct, frozen=True):
    """A full JSONPath expression (RFC 9535 syntax as jsonpath-ng reads it)."""

    text: str


Pick = DottedPath | JsonPath


def parse_pick(text: str) -> Pick:
    """Raises ValueError when `text` is empty or a dotted path has an empty segment; JSONPath is not compiled here."""
    if text.startswith("$"):
        return JsonPath(text)
    if not text:
        raise ValueError("the pick is empty")
    if text == ".":
        return DottedPath(())
    segments = tuple(text.removeprefix(".").split("."))
    if "" in segments:
        raise ValueError(f"{text!r} has an empty segment")
    return DottedPath(segments)
