"""Collecting what is wrong, and naming what was probably meant."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from patchbay_runner.errors import Diagnostic
from patchbay_runner.loader.node import Node, quote, scalar_text
from patchbay_runner.model.steps import Scalar


class Report:
    """The problems found so far. Errors stop the load at its end, warnings do not."""

    __slots__ = ("errors", "warnings")

    def __init__(self) -> None:
        self.errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []

    def error(self, node: Node, message: str, expected: str = "") -> None:
        self.errors.append(Diagnostic(node.file, node.line, node.key, message, expected))

    def warn(self, node: Node, message: str) -> None:
        self.warnings.append(Diagnostic(node.file, node.line, node.key, message))

    def file_error(self, file: str, message: str, expected: str = "", line: int = 0) -> None:
        self.errors.append(Diagnostic(file, line, "", message, expected))

    def or_none(self) -> Report | None:
        """The report when it says anything. Thousands of variants keep what was found; most of it is nothing."""
        return self if self.errors or self.warnings else None

    def extend(self, other: Report) -> None:
        self.errors += other.errors
        self.warnings += other.warnings


class VariantReport:
    """Problems of many variants: each is told once, with the matrix values that it depends on."""

    def __init__(self) -> None:
        self._errors: dict[Diagnostic, list[int]] = {}
        self._warnings: dict[Diagnostic, list[int]] = {}

    def add(self, variant: int, report: Report | None) -> None:
        if report is None:
            return
        _note(self._errors, report.errors, variant)
        _note(self._warnings, report.warnings, variant)

    def condense(self, axes: Sequence[Mapping[str, Scalar]], report: Report) -> None:
        """Adds what was noted to `report`; `axes` holds the axis values of every variant, a full product."""
        if not (self._errors or self._warnings):
            return
        sizes = {axis: len({scalar_text(values[axis]) for values in axes}) for axis in axes[0]}
        report.errors += (_qualify(problem, where, axes, sizes) for problem, where in self._errors.items())
        report.warnings += (_qualify(problem, where, axes, sizes) for problem, where in self._warnings.items())


def _note(noted: dict[Diagnostic, list[int]], problems: Iterable[Diagnostic], variant: int) -> None:
    for problem in problems:
        where = noted.setdefault(problem, [])
        if not where or where[-1] != variant:
            where.append(variant)


def _qualify(
    problem: Diagnostic, where: Sequence[int], axes: Sequence[Mapping[str, Scalar]], sizes: Mapping[str, int]
) -> Diagnostic:
    """The problem with the axis values that all its variants share, where no other variant has them."""
    if len(where) == len(axes):
        return problem
    shared = dict(axes[where[0]])
    for variant in where:
        shared = {axis: value for axis, value in shared.items() if axes[variant][axis] == value}
    explained = math.prod(size for axis, size in sizes.items() if axis not in shared)
    if explained == len(where):
        suffix = _values(shared)
    else:
        others = f" and {len(where) - 1} more" if len(where) > 1 else ""
        suffix = f"{_values(axes[where[0]])}{others}"
    return Diagnostic(problem.file, problem.line, problem.key, f"{problem.message} [matrix {suffix}]", problem.expected)


def _values(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{axis} = {quote(value)}" for axis, value in values.items())


def did_you_mean(name: str, candidates: Collection[str]) -> str:
    """` (did you mean "x"?)`, or nothing when no candidate is near."""
    near = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if not near:
        folded = {candidate.casefold(): candidate for candidate in candidates}
        near = [folded[name.casefold()]] if name.casefold() in folded else []
    return f" (did you mean {quote(near[0])}?)" if near else ""


def one_of(names: Iterable[str]) -> str:
    """The names as a sentence's list, shortened to what a reader takes in."""
    shown = [quote(name) for name in names]
    if not shown:
        return "nothing"
    if len(shown) > 24:
        shown = [*shown[:24], f"... ({len(shown) - 24} more)"]
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} or {shown[-1]}"


def unknown(kind: str, name: str, candidates: Collection[str]) -> tuple[str, str]:
    """The message and the expectation for a name that is not among `candidates`."""
    hint = did_you_mean(name, candidates)
    message = f"unknown {kind} {quote(name)}{hint}"
    if hint:
        return message, ""
    return message, one_of(candidates) if candidates else f"a {kind} that is defined; there is none"
