"""Durations as the TOML files write them: "300s", "1.5s", "500ms", "2m"."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")

EXPECTED = 'a duration such as "500ms", "1.5s" or "2m"'


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError when `text` is not a number followed by ms, s, m or h."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return float(found[1]) * _UNITS_S[found[2]]


def format_duration(seconds: float) -> str:
    """A short text that `parse_duration` reads back as exactly `seconds`."""
    if seconds < 1:
        milliseconds = f"{Decimal(repr(round(seconds * 1000, 9))):f}ms"
        if parse_duration(milliseconds) == seconds:
            return _without_zeros(milliseconds, "ms")
    return _without_zeros(f"{Decimal(repr(seconds)):f}s", "s")


def _without_zeros(text: str, unit: str) -> str:
    number = text.removesuffix(unit)
    return (number.rstrip("0").rstrip(".") if "." in number else number) + unit
