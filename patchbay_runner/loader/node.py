"""A value of a TOML document together with the place it was written at.

Substitution, templates, groups and `extends` move nodes around; the place stays with the value, so that a problem found
at the end of the pipeline is still reported where the user can mend it.
"""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import msgspec

from patchbay_runner.model.topology import Origin

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class Node(msgspec.Struct, frozen=True, gc=False):
    """`value` is a scalar, a tuple of nodes (array) or a dict of nodes (table). `key` is the dotted path.

    `is_fixed` means that no string in it holds a placeholder, so that it is the same in every variant.
    """

    value: Any
    file: str
    line: int
    key: str
    is_fixed: bool = False

    @property
    def origin(self) -> Origin:
        return Origin(self.file, self.line)

    def with_value(self, value: Any) -> Node:
        return Node(value, self.file, self.line, self.key)


def join_key(path: str, key: str) -> str:
    """The dotted path of `key` in the table at `path`."""
    name = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
    return f"{path}.{name}" if path else name


def table_of(node: Node | None) -> dict[str, Node]:
    """The entries of a table; nothing for anything else (which the schema reports)."""
    if node is None or not isinstance(node.value, dict):
        return {}
    return node.value


def items_of(node: Node | None) -> tuple[Node, ...]:
    """The elements of an array; nothing for anything else (which the schema reports)."""
    if node is None or not isinstance(node.value, tuple):
        return ()
    return node.value


def describe(node: Node) -> str:
    """What was found, for messages."""
    value = node.value
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, tuple):
        return "an array"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date or time {value}"
    kind = {str: "string", bool: "boolean", int: "integer", float: "number"}[type(value)]
    return f"the {kind} {quote(value)}"


def quote(value: object) -> str:
    """`value` as TOML writes it, shortened to what fits a message."""
    if isinstance(value, str):
        shown = json.dumps(value, ensure_ascii=False)
        return shown if len(shown) <= 80 else shown[:76] + '..."'
    return scalar_text(value)


def scalar_text(value: object) -> str:
    """The text that a scalar becomes when a placeholder brings it into a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
