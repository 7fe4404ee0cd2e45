"""Which of the sims that were loaded are meant, and how often each runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from patchbay_runner.cli.text import counted
from patchbay_runner.loader.diagnostics import did_you_mean, one_of
from patchbay_runner.loader.load import load_network
from patchbay_runner.loader.node import quote, scalar_text
from patchbay_runner.model.plan import Plan

Command = TypeVar("Command", bound=Callable[..., object])
_MAGIC = re.compile(r"[*?\[]")


def selection_options(command: Command) -> Command:
    """The options whose values `select` takes."""
    matrix = click.option(
        "--matrix",
        "axis_values",
        multiple=True,
        metavar="KEY=VALUE",
        help="Only variants with this value of the matrix's axis. Repeated: values of one axis are alternatives, "
        "different axes must all be met.",
    )
    names = click.option(
        "--filter",
        "patterns",
        multiple=True,
        metavar="PATTERN",
        help="Only sims whose name holds this text or, with *, ? or [...], matches this glob as a whole. "
        "Repeated: any of them.",
    )
    return names(matrix(command))


def select(plans: Sequence[Plan], patterns: Sequence[str], axis_values: Sequence[str]) -> tuple[Plan, ...]:
    """The plans that one of `patterns` means and that have, for each axis named, one of its values ("axis=value").

    Raises click.BadParameter for an axis or a value that no sim has, and when nothing is left.
    """
    wanted = _wanted(plans, axis_values)
    chosen = [plan for plan in plans if all(_value(plan, axis) in values for axis, values in wanted.items())]
    if wanted and not chosen:
        raise click.BadParameter("no variant has all these values", param_hint="--matrix")
    left = tuple(plan for plan in chosen if not patterns or any(_is_meant(plan.name, each) for each in patterns))
    if chosen and not left:
        names = list(dict.fromkeys(plan.name for plan in chosen))
        hint = did_you_mean(patterns[0], names) if len(patterns) == 1 else ""
        message = f"no sim is called like {one_of(patterns)}{hint}"
        raise click.BadParameter(message if hint else f"{message}; there is {one_of(names)}", param_hint="--filter")
    return left


def chosen_plan(file: Path, axis_values: tuple[str, ...]) -> Plan:
    """The plan of a sim or topology file, of a matrix the variant with these values; says what is odd about it.

    Raises InputError, click.UsageError when several are left.
    """
    loaded = load_network(file, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    plans = select(loaded.plans, (), axis_values)
    if len(plans) > 1:
        axes = {axis: None for plan in plans for axis in plan.matrix if len({p.matrix.get(axis) for p in plans}) > 1}
        values = ", ".join(" ".join(f"--matrix {axis}={plan.matrix[axis]}" for axis in axes) for plan in plans[:8])
        more = f", and {len(plans) - 8} more" if len(plans) > 8 else ""
        raise click.UsageError(f"{file} has {counted(len(plans), 'variant')}; choose one: {values}{more}")
    return plans[0]


def repeated(plans: Sequence[Plan], times: int) -> tuple[Plan, ...]:
    """Every plan so many times in a row, its attempts numbered from 1."""
    if times == 1:
        return tuple(plans)
    return tuple(msgspec.structs.replace(plan, attempt=number + 1) for plan in plans for number in range(times))


def _is_meant(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) if _MAGIC.search(pattern) else pattern in name


def _value(plan: Plan, axis: str) -> str | None:
    return scalar_text(plan.matrix[axis]) if axis in plan.matrix else None


def _wanted(plans: Sequence[Plan], axis_values: Sequence[str]) -> dict[str, set[str]]:
    """Axis to its wanted values."""
    known: dict[str, dict[str, None]] = {}
    for plan in plans:
        for axis, value in plan.matrix.items():
            known.setdefault(axis, {})[scalar_text(value)] = None
    wanted: dict[str, set[str]] = {}
    for text in axis_values:
        axis, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{quote(text)} is not of the form key=value", param_hint="--matrix")
        if axis not in known:
            hint = did_you_mean(axis, known) or f"; there is {one_of(known)}"
            raise click.BadParameter(f"no sim has a matrix with the axis {quote(axis)}{hint}", param_hint="--matrix")
        if value not in known[axis]:
            hint = did_you_mean(value, known[axis]) or f"; there is {one_of(known[axis])}"
            raise click.BadParameter(f"the axis {quote(axis)} has no value {quote(value)}{hint}", param_hint="--matrix")
        wanted.setdefault(axis, set()).add(value)
    return wanted
