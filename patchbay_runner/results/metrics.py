"""Counters as `metrics.jsonl` holds them: what was added since they were counted last. Pure."""

from __future__ import annotations

from typing import Any

from patchbay_runner.model.links import DirectionStatistics, LinkReport, LinkStatistics

_COUNTERS = (
    "packets",
    "bytes",
    "dropped",
    "lost",
    "overflowed",
    "reordered",
    "duplicated",
    "corrupted",
    "overrun",
    "refused",
)


def link_metrics(before: LinkReport, now: LinkReport) -> dict[str, dict[str, Any]]:
    """By link and direction (up, down) what has changed; `delay_ms` is the mean of the frames that passed."""
    known = {link.name: link for link in before.statistics}
    found: dict[str, dict[str, Any]] = {}
    for link in now.statistics:
        old = known.get(link.name, LinkStatistics(link.name))
        ways = {"up": _difference(old.up, link.up), "down": _difference(old.down, link.down)}
        changed = {way: fields for way, fields in ways.items() if fields}
        if changed:
            found[link.name] = changed
    return found


def _difference(before: DirectionStatistics | None, now: DirectionStatistics | None) -> dict[str, Any]:
    if now is None:
        return {}
    before = before or DirectionStatistics()
    found: dict[str, Any] = {name: getattr(now, name) - getattr(before, name) for name in _COUNTERS}
    passed = found["packets"] - found["dropped"]
    delay_ms = now.delay_total_ms - before.delay_total_ms
    if passed > 0 and delay_ms:
        found["delay_ms"] = round(delay_ms / passed, 3)
    return {name: value for name, value in found.items() if value}
