"""Two texts and an operator: whether they compare so, and how to tell when they do not."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation

from patchbay_runner.errors import AssertionFailed, StepError
from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.recording import CaptureValue
from patchbay_runner.parsers import compile_pattern

_HISTORY_SHOWN = 10
_VALUE_SHOWN = 200

_COMPARISONS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(check: Assertion, left: str, right: str) -> bool:
    """Whether `left operator right` holds. Raises StepError when the operator cannot compare the two."""
    match check.operator:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "contains":
            return right in left
        case "matches":
            return _pattern(right).search(left) is not None
        case numeric:
            return _COMPARISONS[numeric](_number(check, left), _number(check, right))


def explain(check: Assertion, right: str, capture: CaptureValue) -> str:
    """The expression, what it came to, and the newest values of the capture."""
    lines = [f"assertion failed: {check}", f"  {check.left} is {cut(capture.value)!r}"]
    if right != check.right:
        lines.append(f"  {check.right} is {cut(right)!r}")
    shown = capture.history[-_HISTORY_SHOWN:]
    if capture.count > 1:
        values = ", ".join(repr(cut(value)) for value in shown)
        which = f"last {len(shown)} of {capture.count}" if capture.count > len(shown) else f"{capture.count} values"
        lines.append(f"  history ({which}): {values}")
    else:
        lines.append("  history: it was captured once")
    return "\n".join(lines)


def holds_now(check: Assertion, left: str, right: str) -> bool:
    """As `compare`, but what is no number yet may become one."""
    try:
        return compare(check, left, right)
    except AssertionFailed:
        return False


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return compile_pattern(text)
    except ValueError as error:
        raise StepError(str(error)) from error


def _number(check: Assertion, text: str) -> Decimal:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        number = Decimal("nan")
    if number.is_nan():
        raise AssertionFailed(f"assertion failed: {check}\n  {cut(text)!r} is not a number")
    return number


def cut(text: str) -> str:
    """No more of a value than a report can show."""
    return text if len(text) <= _VALUE_SHOWN else f"{text[:_VALUE_SHOWN]}…"
