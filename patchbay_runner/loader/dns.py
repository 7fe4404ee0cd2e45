"""`[dns]`: names and what they stand for, for everybody or for one device; the same in `set-dns` steps."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, array_shape, map_shape
from patchbay_runner.loader.steps.draft import is_dynamic
from patchbay_runner.model.names import (
    WILDCARD,
    Labels,
    NameRecord,
    NameTable,
    address_of,
    is_like_an_address,
    labels_of,
    record_of,
)
from patchbay_runner.model.steps import SetNames

_EXPECTED = 'an address, a name, or an array of addresses such as ["10.0.0.1", "fd00::1"]'
# What host names are made of (RFC 1123, section 2.1), and the underscore of service names.
_LABEL = re.compile(rb"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")

# Of a name whose addresses are not known before the lab runs.
_SOME_ADDRESS = ("192.0.2.1",)


class Entry(msgspec.Struct, frozen=True):
    """A name as written, and where."""

    record: NameRecord
    node: Node


@accepts(map_shape({"anyOf": [FILLED_TEXT, array_shape(FILLED_TEXT, 1)]}))
def names(node: Node, report: Report) -> tuple[Entry, ...] | None:
    """The entries of a table of names."""
    found = _entries(node, report, is_filled_in=False)
    if found is None:
        return None
    return tuple([Entry(record_of(name, texts), node.value[name]) for name, texts in found.items()])


@accepts(map_shape({"anyOf": [FILLED_TEXT, array_shape(FILLED_TEXT)]}))
def step_entries(node: Node, report: Report) -> dict[str, tuple[str, ...]] | None:
    """The same with references that are filled in when the step runs; an empty array takes a name away."""
    found = _entries(node, report, is_filled_in=True)
    if found is None:
        return None
    if not node.value:
        report.error(node, "the table is empty", "at least one name")
    return found if len(found) == len(node.value) else None


def step_records(step: SetNames) -> list[NameRecord]:
    """What a step sets, as far as it is known before it runs; what is not may be any address."""
    return [
        NameRecord(name, _SOME_ADDRESS) if any(map(is_dynamic, texts)) else record_of(name, texts)
        for name, texts in step.entries.items()
    ]


def merged(layers: Iterable[Iterable[Entry]]) -> list[Entry]:
    """All entries; one of a later layer replaces an earlier one of the same name."""
    return list({labels_of(entry.record.name): entry for layer in layers for entry in layer}.values())


def node_names(nodes: Iterable[tuple[str, Iterable[str]]]) -> list[NameRecord]:
    """The names of nodes and of their interfaces, as far as DNS can carry them. What they stand for is not said."""
    found = []
    for node, interfaces in nodes:
        for name in (node, *(f"{interface}.{node}" for interface in interfaces)):
            try:
                labels_of(name)
            except ValueError:
                continue
            found.append(NameRecord(name, _SOME_ADDRESS))
    return found


def check_aliases(entries: Iterable[Entry], table: NameTable, report: Report) -> None:
    """Reports names that stand for none that there is. `table` holds the records that count for who asks."""
    for entry in entries:
        problem = table.problem(entry.record)
        if problem is None:
            continue
        if problem.reason != "unknown":
            report.error(entry.node, str(problem), "names that lead to addresses")
        elif len(problem.path) == 2:  # further on, it is told where it is written
            target = problem.path[1]
            hint = did_you_mean(target, [record.name for record in table])
            report.error(entry.node, f"unknown name {quote(target)}{hint}", "an address, or a name of this network")


def _entries(node: Node, report: Report, *, is_filled_in: bool) -> dict[str, tuple[str, ...]] | None:
    """Names and the texts that they stand for. An entry that is wrong is told and left out."""
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "a table of names")
        return None
    found: dict[str, tuple[str, ...]] = {}
    taken: dict[Labels, str] = {}
    for name, child in node.value.items():
        if isinstance(child.value, dict):
            quoted = f"a name in quotes, with its dots: {quote(_dotted(name, child))}"
            report.error(child, "found a table", quoted if child.value else _EXPECTED)
            continue
        labels = _labels(name, child, report)
        texts = _texts(child, report, is_filled_in=is_filled_in)
        if labels in taken:
            report.error(child, f"{quote(name)} and {quote(taken[labels])} are the same name", "one of them")
        elif labels is not None and texts is not None:
            found[name] = texts
        if labels is not None:
            taken[labels] = name
    return found


def _dotted(name: str, node: Node) -> str:
    """The first name that dots without quotes have made tables of."""
    while isinstance(node.value, dict) and node.value:
        key, node = next(iter(node.value.items()))
        name = f"{name}.{key}"
    return name


def _labels(name: str, node: Node, report: Report) -> Labels | None:
    try:
        labels = labels_of(name)
    except ValueError as error:
        report.error(node, str(error).replace(repr(name), quote(name)))
        return None
    plain = labels[1:] if labels[0] == WILDCARD else labels
    if not plain or not all(map(_LABEL.fullmatch, plain)):
        expected = 'letters, digits, "-" and "_" between dots, with "*" in front at most'
        report.error(node, f"{quote(name)} cannot be a DNS name", expected)
        return None
    if labels == (b"localhost",):
        report.error(node, '"localhost" is every node\'s own', "another name")
        return None
    return labels


def _texts(node: Node, report: Report, *, is_filled_in: bool) -> tuple[str, ...] | None:
    items = node.value if isinstance(node.value, tuple) else (node,)
    if not items and not is_filled_in:
        report.error(node, "the array is empty", _EXPECTED)
        return None
    texts = [_text(item, report, is_filled_in=is_filled_in, is_one=len(items) == 1) for item in items]
    good = [text for text in texts if text is not None]
    return tuple(good) if len(good) == len(texts) else None


def _text(node: Node, report: Report, *, is_filled_in: bool, is_one: bool) -> str | None:
    value = node.value
    if not isinstance(value, str) or not value:
        report.error(node, f"found {describe(node)}", _EXPECTED)
        return None
    if is_dynamic(value):
        if is_filled_in:
            return value
        expected = "a device's name, which stands for its addresses whatever they are"
        report.error(node, f"found {quote(value)}: nothing is filled in here", expected)
        return None
    try:
        if is_one and not is_like_an_address(value):
            labels_of(value)
        else:
            address_of(value)
    except ValueError:
        if is_one:
            report.error(node, f"{quote(value)} is neither an address nor a name", _EXPECTED)
        else:
            report.error(node, f"{quote(value)} is not an address", "an address; another name stands alone")
        return None
    return value
