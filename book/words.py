"""Types in words: what a JSON Schema accepts, as a reference says it."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.shapes import DURATION, PLACEHOLDER, Key, shape_of

# Bounds that only keep numbers countable are not worth a word.
_BOUNDLESS = 1_000_000_000


def type_of(key: Key) -> str:
    """The type of a key's value, with the values or the range that it may have; Markdown."""
    return key.kind or words(shape_of(key))


def words(shape: dict[str, Any]) -> str:
    """What a shape accepts. Other spellings of the same value, such as a number in a string, go without saying."""
    if "anyOf" in shape:
        parts = [each for each in shape["anyOf"] if each != PLACEHOLDER]
        is_stringly = any(each.get("type") in {"integer", "number", "boolean"} for each in parts)
        kept = [each for each in parts if not (is_stringly and _is_text(each))]
        return " or ".join(dict.fromkeys(words(each) for each in kept))
    if "enum" in shape:
        return ", ".join(f'`"{name}"`' for name in shape["enum"])
    if shape.get("type") == "array":
        return f"array of {_plural(words(shape['items']))}"
    if shape.get("type") in {"integer", "number"}:
        return f"{shape['type']}{_range(shape)}"
    if {name: shape.get(name) for name in DURATION} == DURATION:
        return "duration"
    kind = shape.get("type", "")
    return {"object": "table"}.get(kind, kind) if isinstance(kind, str) else " or ".join(kind)


def _is_text(shape: dict[str, Any]) -> bool:
    return shape.get("type") == "string" or shape.get("enum") == ["true", "false"]


def _range(shape: dict[str, Any]) -> str:
    low, high = shape.get("minimum", 0), shape.get("maximum", _BOUNDLESS)
    if high < _BOUNDLESS:
        return f", {low:,.0f} to {high:,.0f}"
    return f", {low:,.0f} or more"


def _plural(noun: str) -> str:
    """Of the first noun; a range stays behind it."""
    head, comma, rest = noun.partition(",")
    return f"{head}s{comma}{rest}"
