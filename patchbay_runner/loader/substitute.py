"""`${matrix.x}` and `${group.x}`: replaced in every string of a node, before the schema reads it.

`$$` is passed over, so that `$${matrix.x}` stays literal. What replaces a placeholder is not read again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Generic, Literal, TypeVar

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.node import Node, quote

T = TypeVar("T")
Namespace = Literal["matrix", "group"]

_PATTERNS = {namespace: re.compile(r"\$\$|\$\{" + namespace + r"\.([^${}\s]+)\}") for namespace in ("matrix", "group")}


def mentions(node: Node, namespace: Namespace) -> frozenset[str]:
    """The keys of `namespace` that the strings of `node` mention."""
    value = node.value
    if node.is_fixed:
        return frozenset()
    if isinstance(value, str):
        return frozenset(found[1] for found in _PATTERNS[namespace].finditer(value) if found[1])
    if isinstance(value, dict):
        return frozenset().union(*(mentions(child, namespace) for child in value.values()))
    if isinstance(value, tuple):
        return frozenset().union(*(mentions(child, namespace) for child in value))
    return frozenset()


def substitute(node: Node, namespace: Namespace, values: Mapping[str, str], report: Report) -> Node:
    """`node` with its placeholders replaced; parts without one are shared."""
    if node.is_fixed:
        return node
    value = node.value
    if isinstance(value, str):
        return _substitute_text(node, value, namespace, values, report) if "$" in value else node
    if isinstance(value, dict):
        table = {key: substitute(child, namespace, values, report) for key, child in value.items()}
        return node.with_value(table) if any(table[key] is not child for key, child in value.items()) else node
    if isinstance(value, tuple):
        array = tuple([substitute(child, namespace, values, report) for child in value])
        return node.with_value(array) if any(a is not b for a, b in zip(array, value, strict=True)) else node
    return node


def _substitute_text(node: Node, value: str, namespace: Namespace, values: Mapping[str, str], report: Report) -> Node:
    def replace(found: re.Match[str]) -> str:
        name = found[1]
        if name is None:
            return found[0]
        if name not in values:
            _report_undefined(node, namespace, name, values, report)
        return values.get(name, found[0])

    replaced = _PATTERNS[namespace].sub(replace, value)
    return node if replaced == value else node.with_value(replaced)


def _report_undefined(node: Node, namespace: Namespace, name: str, values: Mapping[str, str], report: Report) -> None:
    hint = did_you_mean(name, values)
    defined = {"matrix": "an axis or a parameter of [matrix]", "group": 'a variable of the call\'s "vars"'}[namespace]
    expected = f"{defined}: {one_of(values)}" if values else f"{defined}; there is none"
    report.error(node, f"{quote('${' + f'{namespace}.{name}' + '}')} is not defined{hint}", "" if hint else expected)


class PerValues(Generic[T]):
    """A computation that depends on some matrix keys only, done once for each set of their values."""

    def __init__(self, keys: frozenset[str], compute: Callable[[Mapping[str, str]], T]) -> None:
        self._keys = tuple(sorted(keys))
        self._compute = compute
        self._known: dict[tuple[str | None, ...], T] = {}

    def at(self, values: Mapping[str, str]) -> T:
        key = tuple([values.get(name) for name in self._keys])
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._compute(values)
        return known
