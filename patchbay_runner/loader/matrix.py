"""`[matrix]`: axes whose product is the variants of a sim, with parameters that go with an axis's value."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.node import Node, describe, quote, scalar_text, table_of
from patchbay_runner.model.steps import Scalar

# More than anybody waits for, and few enough to say so before memory runs out.
MOST_VARIANTS = 100_000


class Variant(msgspec.Struct, frozen=True):
    """One point of the product: the axes' values, and every placeholder of `${matrix.*}` with its text."""

    axes: dict[str, Scalar]
    placeholders: dict[str, str]


class _Value(msgspec.Struct, frozen=True):
    value: Scalar
    placeholders: dict[str, str]


def expand(matrix: Node | None, report: Report) -> list[Variant]:
    """The variants in order, the last axis turning fastest; one without a matrix, none when the matrix is wrong."""
    if matrix is None or not isinstance(matrix.value, dict):
        return [Variant({}, {})]
    before = len(report.errors)
    params = _params(matrix, report)
    axes = {
        name: _axis(name, node, params.get(name, {}), report) for name, node in matrix.value.items() if name != "params"
    }
    _check_collisions(matrix, axes, params, report)
    total = math.prod(len(values) for values in axes.values())
    if total > MOST_VARIANTS:
        report.error(matrix, f"the matrix makes {total:,} variants", f"at most {MOST_VARIANTS:,}")
    if len(report.errors) > before:
        return []
    return [_variant(axes, point) for point in itertools.product(*axes.values())]


def names(variants: Sequence[Variant], given: Sequence[str]) -> list[str]:
    """The sims' names: where variants share one, their axis values are appended to it."""
    shared = {name for name, times in Counter(given).items() if times > 1}
    taken: Counter[str] = Counter()
    unique = []
    for variant, name in zip(variants, given, strict=True):
        own = "-".join([name, *map(scalar_text, variant.axes.values())]) if name in shared else name
        taken[own] += 1
        unique.append(own if taken[own] == 1 else f"{own}-{taken[own]}")
    return unique


def _variant(axes: dict[str, list[_Value]], point: tuple[_Value, ...]) -> Variant:
    placeholders: dict[str, str] = {}
    for value in point:
        placeholders.update(value.placeholders)
    return Variant({name: value.value for name, value in zip(axes, point, strict=True)}, placeholders)


def _axis(name: str, node: Node, params: dict[str, dict[str, str]], report: Report) -> list[_Value]:
    if not isinstance(node.value, tuple):
        report.error(node, f"found {describe(node)}", "an array of the axis's values")
        return []
    if not node.value:
        report.error(node, "the axis has no value, so the matrix makes no variant")
    values: dict[str, _Value] = {}
    for child in node.value:
        shown = _scalar(child, report)
        if shown is None:
            continue
        if shown in values:
            report.error(child, f"the axis has the value {quote(child.value)} already")
        values[shown] = _Value(child.value, {name: shown, **params.get(shown, {})})
    return list(values.values())


def _scalar(node: Node, report: Report) -> str | None:
    if isinstance(node.value, str | int | float):
        return scalar_text(node.value)
    report.error(node, f"found {describe(node)}", "a string, an integer, a number or a boolean")
    return None


def _params(matrix: Node, report: Report) -> dict[str, dict[str, dict[str, str]]]:
    """Axis to axis value to parameter to its text."""
    node = matrix.value.get("params")
    if node is None:
        return {}
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", 'the table [matrix.params]; "params" cannot name an axis')
        return {}
    axes = {name: child for name, child in matrix.value.items() if name != "params"}
    params = {}
    for axis, table in node.value.items():
        if axis not in axes:
            hint = did_you_mean(axis, axes)
            report.error(table, f"there is no axis {quote(axis)}{hint}", "" if hint else one_of(axes))
        else:
            params[axis] = _axis_params(table, axes[axis], report)
    return params


def _axis_params(table: Node, axis: Node, report: Report) -> dict[str, dict[str, str]]:
    if not isinstance(table.value, dict):
        report.error(table, f"found {describe(table)}", "a table of the axis's values")
        return {}
    known = [scalar_text(child.value) for child in axis.value] if isinstance(axis.value, tuple) else []
    params = {}
    for value, entry in table.value.items():
        if value not in known:
            hint = did_you_mean(value, known)
            report.error(entry, f"the axis has no value {quote(value)}{hint}", "" if hint else one_of(known))
        elif not isinstance(entry.value, dict):
            report.error(entry, f"found {describe(entry)}", "a table of parameters")
        else:
            texts = {name: _scalar(child, report) for name, child in entry.value.items()}
            params[value] = {name: text for name, text in texts.items() if text is not None}
    return params


def _check_collisions(
    matrix: Node, axes: dict[str, list[_Value]], params: dict[str, dict[str, dict[str, str]]], report: Report
) -> None:
    """A placeholder must mean one thing: an axis, or a parameter of one axis."""
    owners = dict.fromkeys(axes, "an axis")
    for axis, by_value in params.items():
        tables = table_of(table_of(matrix.value["params"])[axis])
        for name in {name: None for values in by_value.values() for name in values}:
            node = next(entry.value[name] for entry in tables.values() if name in table_of(entry))
            if name in owners:
                report.error(node, f"{quote(name)} is {owners[name]} already; ${{matrix.{name}}} would be ambiguous")
            owners.setdefault(name, f"a parameter of the axis {quote(axis)}")
