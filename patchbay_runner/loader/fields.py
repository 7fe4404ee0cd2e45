"""Converters: from a node to the value that a record holds, or None and a reported problem."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.node import Node, describe, quote, scalar_text
from patchbay_runner.loader.shapes import (
    DURATION,
    FILLED_TEXT,
    FILLED_TEXTS,
    TEXT,
    TEXTS,
    accepts,
    array_shape,
    map_shape,
    names_shape,
    one_shape_of,
    shape_of,
)
from patchbay_runner.model import durations

T = TypeVar("T")
Converter = Callable[[Node, Report], T | None]

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INTEGER_TEXT = {"type": "string", "pattern": r"^\s*[+-]?[0-9]+\s*$"}
_NUMBER_TEXT = {"type": "string", "pattern": r"^\s*[+-]?[0-9.]+([eE][+-]?[0-9]+)?\s*$"}
# Longer than any simulation, short enough for every clock.
_LONGEST_S = 366 * 86_400.0


@accepts(TEXT)
def text(node: Node, report: Report) -> str | None:
    """Any string that the kernel and JSON can carry."""
    if not isinstance(node.value, str):
        report.error(node, f"found {describe(node)}", "a string")
        return None
    if "\0" in node.value:
        report.error(node, "the string holds a NUL character")
        return None
    return node.value


@accepts(FILLED_TEXT)
def filled_text(node: Node, report: Report) -> str | None:
    """A string with at least one character that is not blank."""
    value = text(node, report)
    if value is not None and not value.strip():
        report.error(node, "the string is empty", "at least one character that is no blank")
        return None
    return value


@accepts(TEXTS)
def texts(node: Node, report: Report) -> tuple[str, ...] | None:
    """An array of strings."""
    return array(text, "strings")(node, report)


@accepts(FILLED_TEXTS)
def filled_texts(node: Node, report: Report) -> tuple[str, ...] | None:
    """An array of strings, none of them empty."""
    return array(filled_text, "strings")(node, report)


def array(element: Converter[T], what: str) -> Converter[tuple[T, ...]]:
    """An array whose elements `element` converts; every wrong element is reported."""

    @accepts(array_shape(shape_of(element)))
    def convert(node: Node, report: Report) -> tuple[T, ...] | None:
        if not isinstance(node.value, tuple):
            report.error(node, f"found {describe(node)}", f"an array of {what}")
            return None
        converted = [element(child, report) for child in node.value]
        good = [value for value in converted if value is not None]
        return tuple(good) if len(good) == len(converted) else None

    return convert


@accepts(map_shape({"type": ["string", "number"]}))
def text_table(node: Node, report: Report) -> dict[str, str] | None:
    """A table of strings, for environments; numbers become text."""
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "a table of strings")
        return None
    table = {}
    for key, child in node.value.items():
        if not key or "=" in key or "\0" in key:
            report.error(child, f"{quote(key)} cannot name an environment variable", 'a name without "="')
        elif isinstance(child.value, int | float) and not isinstance(child.value, bool):
            table[key] = scalar_text(child.value)
        else:
            value = text(child, report)
            if value is not None:
                table[key] = value
    return table


@accepts(one_shape_of({"type": "boolean"}, {"enum": ["true", "false"]}))
def boolean(node: Node, report: Report) -> bool | None:
    """A boolean, or its name as a string."""
    if isinstance(node.value, bool):
        return node.value
    if node.value in ("true", "false"):
        return bool(node.value == "true")
    report.error(node, f"found {describe(node)}", 'true or false, also as a string ("true")')
    return None


def number(low: float = 0.0, high: float = 1e12) -> Converter[float]:
    """A number, or one written as a string, from `low` to `high`."""
    expected = f"a number from {low:,.0f} to {high:,.0f}" if high < 1e12 else f"a number, {low:g} or more"

    @accepts(one_shape_of({"type": "number", "minimum": low, "maximum": high}, _NUMBER_TEXT))
    def convert(node: Node, report: Report) -> float | None:
        value = node.value
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            report.error(node, f"found {describe(node)}", expected)
            return None
        return float(value)

    return convert


def integer(low: int, high: int) -> Converter[int]:
    """An integer, or one written as a string, from `low` to `high`."""

    @accepts(one_shape_of({"type": "integer", "minimum": low, "maximum": high}, _INTEGER_TEXT))
    def convert(node: Node, report: Report) -> int | None:
        value = node.value
        if isinstance(value, str) and _INTEGER.fullmatch(value.strip()) and len(value) < 20:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            report.error(node, f"found {describe(node)}", f"an integer from {low:,} to {high:,}")
            return None
        return value

    return convert


@accepts(DURATION)
def duration(node: Node, report: Report) -> float | None:
    """Seconds, of a duration such as "500ms"."""
    try:
        if not isinstance(node.value, str):
            raise ValueError  # a bare number does not say its unit
        seconds = durations.parse_duration(node.value)
    except ValueError:
        hint = f' such as "{node.value}s"' if type(node.value) in (int, float) and node.value >= 0 else ""
        report.error(node, f"found {describe(node)}", f"a duration with its unit{hint}" if hint else durations.EXPECTED)
        return None
    if seconds > _LONGEST_S:
        report.error(node, f"found {describe(node)}", "a duration of at most 366 days")
        return None
    return seconds


@accepts(DURATION)
def positive_duration(node: Node, report: Report) -> float | None:
    """Seconds, more than none."""
    seconds = duration(node, report)
    if seconds == 0:
        report.error(node, f"found {describe(node)}", "a duration longer than zero")
        return None
    return seconds


def choice(values: Mapping[str, T]) -> Converter[T]:
    """One of the names in `values`, converted to what it stands for."""

    @accepts(names_shape(values))
    def convert(node: Node, report: Report) -> T | None:
        if isinstance(node.value, str) and node.value in values:
            return values[node.value]
        hint = did_you_mean(node.value, values) if isinstance(node.value, str) else ""
        report.error(node, f"found {describe(node)}{hint}", one_of(values))
        return None

    return convert


def name_choice(names: Iterable[str]) -> Converter[Any]:
    """One of `names`, as it is."""
    return choice({name: name for name in names})


def is_name_or_table(node: Node, names: Collection[str], what: str, report: Report) -> bool:
    """Whether `node` is one of `names`, or a table that says the same in detail; anything else is reported."""
    if isinstance(node.value, dict) or (isinstance(node.value, str) and node.value in names):
        return True
    if isinstance(node.value, str):
        hint = did_you_mean(node.value, names)
        report.error(node, f"unknown {what} {quote(node.value)}{hint}", f"{one_of(names)}, or a table")
    else:
        report.error(node, f"found {describe(node)}", f"the name of a {what} or a table")
    return False


def read_table(node: Node, fields: Mapping[str, Converter[Any]], report: Report, what: str) -> dict[str, Any] | None:
    """Converts the keys of a table; absent keys and keys whose value is wrong are absent from the answer.

    None when `node` is not a table. `what` names the table in messages.
    """
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", f"a table ({what})")
        return None
    values: dict[str, Any] = {}
    for key, child in node.value.items():
        convert = fields.get(key)
        if convert is None:
            unknown_key(child, key, fields, report)
            continue
        value = convert(child, report)
        if value is not None:
            values[key] = value
    return values


def unknown_key(node: Node, key: str, known: Iterable[str], report: Report) -> None:
    """Reports a key that nothing reads, with the nearest one that something does."""
    names = list(known)
    hint = did_you_mean(key, names)
    report.error(node, f"unknown key {quote(key)}{hint}", "" if hint else one_of(names))


def require(node: Node, values: Mapping[str, Any], keys: Iterable[str], report: Report, what: str) -> bool:
    """Reports each of `keys` that the table at `node` does not write; False when a value is missing for any reason."""
    written = node.value if isinstance(node.value, dict) else {}
    for key in keys:
        if key not in written:
            report.error(node, f"{what} needs {quote(key)}")
    return all(key in values for key in keys)
