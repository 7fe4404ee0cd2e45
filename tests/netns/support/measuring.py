"""Measurements on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

_IDLE_ENOUGH = 0.75
_PATIENCE_S = 5.0
_TRIES = 3


def nearest(asked: float, measure: Callable[[], float], tolerance: float) -> float:
    """The first of three measurements that is near enough to what was asked, else the nearest.

    A busy machine is late at times, and says so by itself; that the network can be exact is what counts here.
    """
    found = [measure()]
    while len(found) < _TRIES and abs(found[-1] - asked) > tolerance:
        _await_idle_machine()
        found.append(measure())
    return min(found, key=lambda each: abs(each - asked))


def require_idle_machine() -> None:
    """Waits until the processors have nothing else to do; skips the test when they always have.

    For tests of what the machine can do at most, which say nothing when others have a part of it.
    """
    idle = _await_idle_machine()
    if idle < _IDLE_ENOUGH:
        pytest.skip(f"this machine is busy: {idle:.0%} of it is idle")


def _await_idle_machine() -> float:
    """How much of the machine is idle, after some patience."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while (idle := _idle_share()) < _IDLE_ENOUGH and time.monotonic() < deadline_s:
        pass
    return idle


def _idle_share() -> float:
    before = _ticks()
    time.sleep(0.3)
    idle, total = (now - then for now, then in zip(_ticks(), before, strict=True))
    return idle / max(1, total)


def _ticks() -> tuple[int, int]:
    """Idle and all, of all processors (proc_stat(5))."""
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    ticks = [int(each) for each in first.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
