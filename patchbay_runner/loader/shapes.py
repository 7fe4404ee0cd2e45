"""What converters accept, as JSON Schema (draft 2020-12), kept beside the code that accepts it.

A shape may be wider than its converter, which also checks what no schema can say; never narrower. A converter without
one accepts anything, as far as editors are concerned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

Shape = dict[str, Any]
C = TypeVar("C", bound=Callable[..., Any])

# `${matrix.x}` and `${group.x}` may stand for any value, and are only known when variants are made.
PLACEHOLDER: Shape = {"type": "string", "pattern": r"\$\{"}

_SHAPES: dict[Callable[..., Any], Shape] = {}


def accepts(shape: Shape) -> Callable[[C], C]:
    """Says what a converter accepts."""

    def note(convert: C) -> C:
        _SHAPES[convert] = shape
        return convert

    return note


def shape_of(convert: Callable[..., Any]) -> Shape:
    """What a converter accepts; a copy, since schemas are put together by changing them."""
    if isinstance(convert, Key):
        return shape_of(convert.convert) | {"description": convert.description}
    return dict(_SHAPES.get(convert, {}))


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a table: how its value is read, and what it says to people, in the reference and in editors.

    `meaning` and `default` are Markdown with links relative to the reference of sim files; "" is no default. `kind` is
    the type in words, where the shape does not tell it well. `same_as` is the key that this one is another name of.
    """

    convert: Callable[..., Any]
    meaning: str
    default: str = ""
    kind: str = ""
    same_as: str = ""

    def __call__(self, *arguments: Any) -> Any:
        return self.convert(*arguments)

    def alias_of(self, name: str) -> Key:
        """The same under another name."""
        return msgspec.structs.replace(self, same_as=name)

    @property
    def description(self) -> str:
        """What editors show."""
        if self.same_as:
            return f"Another name of {self.same_as}."
        text = f"{self.meaning}. Default: {self.default}." if self.default else f"{self.meaning}."
        plain = _LINK.sub(r"\1", text).replace("`", "")
        return plain[:1].upper() + plain[1:]


_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")


def described(convert: Callable[..., Any], meaning: str, default: str = "", *, kind: str = "") -> Key:
    """A key that `convert` reads, with its meaning and its default in Markdown."""
    return Key(convert=convert, meaning=meaning, default=default, kind=kind)


def one_shape_of(*shapes: Shape) -> Shape:
    """Any of `shapes`, or a placeholder."""
    return {"anyOf": [*shapes, PLACEHOLDER]}


def names_shape(names: Iterable[str]) -> Shape:
    """One of some names, or a placeholder."""
    return one_shape_of({"enum": list(names)})


def array_shape(items: Shape, least: int = 0, most: int | None = None) -> Shape:
    """An array."""
    bounds = ({"minItems": least} if least else {}) | ({} if most is None else {"maxItems": most})
    return {"type": "array", "items": items, **bounds}


def map_shape(values: Shape) -> Shape:
    """A table with keys of the author's own."""
    return {"type": "object", "additionalProperties": values}


def table_shape(fields: Mapping[str, Callable[..., Any]], required: Iterable[str] = ()) -> Shape:
    """A table that has no other keys than those of `fields`, whose values are converters."""
    return object_shape({key: shape_of(convert) for key, convert in fields.items()}, required)


def object_shape(properties: Mapping[str, Shape], required: Iterable[str] = ()) -> Shape:
    """A table that has no other keys than these."""
    shape: Shape = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return shape | ({"required": list(required)} if required else {})


def own_keys_shape(fields: Mapping[str, Callable[..., Any]], others: Shape) -> Shape:
    """A table with some fixed keys, beside which the author's own hold `others`."""
    return table_shape(fields) | {"additionalProperties": others}


TEXT: Shape = {"type": "string"}
FILLED_TEXT: Shape = {"type": "string", "pattern": r"\S"}
TEXTS = array_shape(TEXT)
FILLED_TEXTS = array_shape(FILLED_TEXT)
SCALAR: Shape = {"type": ["string", "number", "boolean"]}
# A number and its unit, or a placeholder in place of either.
DURATION: Shape = {"type": "string", "pattern": r"[smh}]\s*$"}
