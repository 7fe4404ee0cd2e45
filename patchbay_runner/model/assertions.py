"""The grammar of assertions: `step.capture operator value`."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from patchbay_runner.model.patterns import compile_pattern

Operator = Literal["==", "!=", "contains", "matches", "<", "<=", ">", ">="]

_ASSERTION = re.compile(r"\s*(\S+)\s+(==|!=|<=|>=|<|>|contains\b|matches\b)(?:\s+(.*?))?\s*", re.DOTALL)

EXPECTED = '"step.capture operator value" with ==, !=, contains, matches, <, <=, > or >='


class Assertion(msgspec.Struct, frozen=True):
    """One check. `left` is a capture key; `right` is text that may hold `${step.capture}`."""

    left: str
    operator: Operator
    right: str

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}".rstrip()


def parse_assertion(text: str) -> Assertion:
    """Raises ValueError that says what is wrong with `text`."""
    found = _ASSERTION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not an assertion")
    left, operator, right = found[1], found[2], found[3] or ""
    if left.startswith("${") and left.endswith("}"):
        left = left[2:-1]
    if "." not in left.strip("."):
        raise ValueError(f"the left side {left!r} is not a capture key of the form step.capture")
    if operator in ("<", "<=", ">", ">=") and "$" not in right and not _is_number(right):
        raise ValueError(f"{operator} compares numbers, and {right!r} is not one")
    if operator == "matches" and "$" + "{" not in right:
        try:
            compile_pattern(right)
        except ValueError as error:
            raise ValueError(f"bad regular expression {right!r}: {error}") from error
    return Assertion(left, operator, right)  # type: ignore[arg-type]  # the pattern admits only operators


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
