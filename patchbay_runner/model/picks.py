"""The grammar of `pick` and of `match` keys: dotted paths, or JSONPath when the text starts with `$`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

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


def compile_json_path(text: str) -> Callable[[Any], list[Any]]:
    """A function that finds all values of a JSONPath, none where it does not fit the value it is applied to.

    Raises ValueError that says what is wrong with `text`.
    """
    # Imported here because few sims use a JSONPath and its grammar takes 30 ms to load.
    from jsonpath_ng.exceptions import JSONPathError  # noqa: PLC0415
    from jsonpath_ng.ext.parser import parse  # noqa: PLC0415
    from jsonpath_ng.ext.string import DefintionInvalid  # noqa: PLC0415  (spelt so, and no JSONPathError)

    try:
        expression = parse(text)
    except (JSONPathError, DefintionInvalid, re.error, ValueError, RecursionError) as error:
        raise ValueError(str(error)) from error

    def find(value: Any) -> list[Any]:
        try:
            return [found.value for found in expression.find(value)]
        except Exception:  # noqa: BLE001  sorting what has no order, `sub` on a number: the library lets anything out
            return []

    return find
