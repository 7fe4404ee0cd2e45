"""Normalised results: captures under the names that reports compare."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from patchbay_runner.errors import StepError
from patchbay_runner.executor.captures import CaptureStore
from patchbay_runner.model.recording import StepResult
from patchbay_runner.model.steps import DurationUnit, ResultKeys

_SCALES: dict[DurationUnit, Decimal] = {"s": Decimal(1), "ms": Decimal("1e-3"), "us": Decimal("1e-6")}
_INTEGER = re.compile(r"[+-]?\d+")


def step_result(step_id: str, keys: ResultKeys, captures: CaptureStore) -> StepResult | None:
    """The results of a step from the newest values; None when nothing was captured.

    Raises StepError when a captured value is not a number.
    """
    duration = _number("duration", keys.duration, captures)
    result = StepResult(
        id=step_id,
        duration=None if duration is None else seconds(duration, keys.duration_unit),
        up_bytes=_number("up_bytes", keys.up_bytes, captures),
        down_bytes=_number("down_bytes", keys.down_bytes, captures),
        latency_ms=_number("latency_ms", keys.latency_ms, captures),
    )
    return None if result == StepResult(id=step_id) else result


def seconds(text: str, unit: DurationUnit | None) -> str:
    """A captured duration in seconds. Without a unit an integer is microseconds and a decimal is seconds."""
    if unit is None:
        unit = "us" if _INTEGER.fullmatch(text) else "s"
    value = (Decimal(text) * _SCALES[unit]).normalize()
    return f"{value:f}"


def _number(field: str, key: str | None, captures: CaptureStore) -> str | None:
    text = captures.latest(key) if key else None
    if text is None:
        return None
    text = text.strip()
    try:
        is_finite = Decimal(text).is_finite()
    except InvalidOperation:
        is_finite = False
    if not is_finite:
        raise StepError(f"results.{field}: {key} is {text!r}, which is not a number")
    return text
