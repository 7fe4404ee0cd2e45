"""Normalised results as numbers: what the reports and the terminal show of a step."""

from __future__ import annotations

from dataclasses import dataclass

from patchbay_runner.model.recording import StepResult

# Decimal megabytes, as network tools and the documents count them.
_BYTES_PER_MB = 1e6


@dataclass(frozen=True, slots=True)
class Measures:
    """A step's results; None where something was not captured or is no number."""

    id: str
    duration_s: float | None
    down_mb: float | None
    up_mb: float | None
    down_mb_s: float | None
    up_mb_s: float | None
    latency_ms: float | None


def measure(result: StepResult) -> Measures:
    """Throughput is bytes over duration, in MB/s."""
    duration_s = _number(result.duration)
    down, up = _number(result.down_bytes), _number(result.up_bytes)
    return Measures(
        id=result.id,
        duration_s=duration_s,
        down_mb=_megabytes(down),
        up_mb=_megabytes(up),
        down_mb_s=_rate(down, duration_s),
        up_mb_s=_rate(up, duration_s),
        latency_ms=_number(result.latency_ms),
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _megabytes(count: float | None) -> float | None:
    return None if count is None else count / _BYTES_PER_MB


def _rate(count: float | None, duration_s: float | None) -> float | None:
    return None if count is None or not duration_s or duration_s < 0 else count / _BYTES_PER_MB / duration_s
