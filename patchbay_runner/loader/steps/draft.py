"""A step before counted devices are expanded and ids are given: its record, and what it needs of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from patchbay_runner.loader.node import Node
from patchbay_runner.model import interpolation
from patchbay_runner.model.interpolation import BinaryRef, CaptureRef, Variable, is_lab_variable, tokenize
from patchbay_runner.model.steps import Step

# "capture" is waited for; "result" is read when it is there.
UseKind = Literal["capture", "requires", "check", "result", "binary", "variable"]


class Use(msgspec.Struct, frozen=True, gc=False):
    """A name that a step refers to, and where."""

    kind: UseKind
    name: str
    node: Node


class Draft(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`step` is None when the step is wrong; then it may record anything, and the rest is what could be read of it.

    `id` is "" where none is written.
    """

    node: Node
    action: str = ""
    id: str = ""
    device: str = ""
    step: Step | None = None
    captures: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()
    is_skipped: bool = False

    @property
    def has_unknown_id(self) -> bool:
        """Whether the step may have any id: it is wrong, and what it writes as its id or its device cannot be read."""
        return not self.id and ("id" in self.node.value or not self.device)

    def place(self, key: str) -> Node:
        """The node of a key, or the step's own where the key is absent."""
        node: Node = self.node.value.get(key, self.node)
        return node


class Table(msgspec.Struct, frozen=True, gc=False):
    """A step's table: the nodes as written and the values that the converters made of them."""

    node: Node
    action: str
    values: dict[str, Any]

    def at(self, key: str) -> Node:
        node: Node = self.node.value[key]
        return node

    def has(self, key: str) -> bool:
        return key in self.node.value

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def take(self, *keys: str) -> dict[str, Any]:
        """The converted values of those of `keys` that are written."""
        return {key: self.values[key] for key in keys if key in self.values}

    def base(self) -> dict[str, Any]:
        """The fields that every record of a step has."""
        return {
            "id": self.values.get("id", ""),
            "requires": self.values.get("requires", ()),
            "timeout_s": self.values.get("timeout"),
            "origin": self.node.origin,
        }

    def uses_in(self, *keys: str) -> list[Use]:
        """What the interpolated strings of `keys` refer to."""
        return [use for key in keys if self.has(key) for use in _uses(self.at(key))]


class Built(msgspec.Struct, frozen=True, gc=False):
    """What a family makes of a table."""

    step: Step
    captures: tuple[str, ...] = ()
    uses: tuple[Use, ...] = ()


def uses_of_text(text: str, node: Node) -> Iterator[Use]:
    """What an interpolated string refers to."""
    if "$" not in text:
        return
    for token in tokenize(text):
        if isinstance(token, CaptureRef):
            yield Use("capture", token.key, node)
        elif isinstance(token, BinaryRef):
            yield Use("binary", token.name, node)
        elif isinstance(token, Variable) and is_lab_variable(token.name):
            yield Use("variable", token.name, node)


def is_dynamic(text: str) -> bool:
    """Whether interpolation makes something else of `text`."""
    return "$" in text and any(not isinstance(token, interpolation.Literal) for token in tokenize(text))


def _uses(node: Node) -> Iterator[Use]:
    value = node.value
    if isinstance(value, str):
        yield from uses_of_text(value, node)
    else:
        children: Iterable[Node] = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict | tuple):
            for child in children:
                yield from _uses(child)
