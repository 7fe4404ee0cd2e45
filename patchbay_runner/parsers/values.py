"""JSON values: decoding them leniently, finding a path in them, comparing them, and writing them as captures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from patchbay_runner.model.picks import DottedPath, JsonPath, compile_json_path, parse_pick
from patchbay_runner.model.steps import Scalar

MISSING: Final = object()

# Raises a ValueError for what is not JSON; `decode_value` is more lenient.
decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode

Lookup = Callable[[Any], Any]
Picker = Callable[[Any], Iterable[Any]]


def decode_value(data: bytes) -> Any:
    """The value of one JSON text, or MISSING when `data` is none. Bytes that are not UTF-8 become U+FFFD."""
    try:
        return decode(data)
    except UnicodeDecodeError:
        return decode_value(data.decode("utf-8", "replace").encode())
    except (msgspec.DecodeError, RecursionError):
        return MISSING


def lookup(path: DottedPath) -> Lookup:
    """A function that finds `path` in a decoded value, and gives MISSING where it leads nowhere."""
    segments = path.segments
    if len(segments) == 1:
        only = segments[0]
        return lambda value: value.get(only, MISSING) if type(value) is dict else _descend(value, only)

    def find(value: Any) -> Any:
        for segment in segments:
            value = _descend(value, segment)
            if value is MISSING:
                return MISSING
        return value

    return find


def _descend(value: Any, segment: str) -> Any:
    if isinstance(value, dict):
        return value.get(segment, MISSING)
    if isinstance(value, list) and segment.isascii() and segment.isdigit():
        index = int(segment)
        return value[index] if index < len(value) else MISSING
    return MISSING


def picker(text: str) -> Picker:
    """A function that yields what `text` picks: at most one value for a dotted path, any number for a JSONPath.

    Raises ValueError when `text` is no pick.
    """
    pick = parse_pick(text)
    if isinstance(pick, JsonPath):
        return _json_path(pick.text)
    find = lookup(pick)

    def values(value: Any) -> Iterable[Any]:
        found = find(value)
        return () if found is MISSING else (found,)

    return values


def _json_path(text: str) -> Picker:
    try:
        find = compile_json_path(text)
    except ValueError as error:
        raise ValueError(f"bad JSONPath {text!r}: {error}") from error
    return lambda value: [] if value is MISSING else find(value)


def equality(expected: Scalar) -> Callable[[Any], bool]:
    """A test for equality with `expected` as JSON has it: numbers by value (1 is 1.0), and a boolean is no number."""
    if isinstance(expected, bool):
        return lambda value: value is expected
    if isinstance(expected, str):
        return lambda value: bool(value == expected)
    return lambda value: bool(value == expected) and not isinstance(value, bool)


def as_text(value: Any) -> str:
    """How a capture holds a JSON value: strings raw, everything else as compact JSON."""
    return value if isinstance(value, str) else _encode(value).decode()
