"""Link conditions: a preset's name or a table, in the newer and the older spelling."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.fields import number, read_table
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import accepts, described, names_shape, table_shape
from patchbay_runner.model.links import PRESET_ALIASES, PRESETS, LinkCondition

_PERCENT = number(0, 100)
_MILLISECONDS = number(0, 3_600_000)
_FIELDS: dict[str, Any] = {
    "latency_ms": described(_MILLISECONDS, "one-way delay, in milliseconds", "0"),
    "jitter_ms": described(
        _MILLISECONDS, "uniform deviation around the latency, either way, in milliseconds; needs a latency", "0"
    ),
    "loss_pct": described(_PERCENT, "share of packets lost, in percent", "0"),
    "loss_burst": described(
        number(0, 1_000_000),
        "mean length of a burst of losses in packets, 1 or more; needs a loss; 0 loses packets independently",
        "0",
    ),
    "rate_kbit": described(number(0, 1e9), "rate limit in kbit/s, frame headers included; 0 is unlimited", "0"),
    "buffer_ms": described(
        _MILLISECONDS,
        "depth of the queue in front of the rate limit, in milliseconds; needs a rate; 0 leaves it to the engine",
        "0",
    ),
    "reorder_pct": described(_PERCENT, "share of packets that overtake delayed ones, in percent; needs a latency", "0"),
    "duplicate_pct": described(_PERCENT, "share of packets sent twice, in percent", "0"),
    "corrupt_pct": described(_PERCENT, "share of packets with a flipped bit, in percent", "0"),
}
_OLDER = {"latency": "latency_ms", "jitter": "jitter_ms", "loss": "loss_pct", "rate": "rate_kbit"}
CONDITION_FIELDS = _FIELDS | {older: _FIELDS[newer].alias_of(newer) for older, newer in _OLDER.items()}

EXPECTED = "the name of a preset or a table of conditions"


@accepts({"anyOf": [names_shape((*PRESETS, *PRESET_ALIASES)), table_shape(CONDITION_FIELDS)]})
def condition(node: Node, report: Report) -> LinkCondition | None:
    """The link condition that `node` writes."""
    if isinstance(node.value, str):
        return _preset(node, report)
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", EXPECTED)
        return None
    before = len(report.errors)
    values = read_table(node, CONDITION_FIELDS, report, EXPECTED) or {}
    for older, newer in _OLDER.items():
        if older in values and newer in values:
            report.error(node.value[older], f"{quote(older)} is an older name of {quote(newer)}, which is here as well")
        elif older in values:
            values[newer] = values.pop(older)
    if len(report.errors) == before:
        _check_combination(node, LinkCondition(**values), report)
    return LinkCondition(**values) if len(report.errors) == before else None


def _preset(node: Node, report: Report) -> LinkCondition | None:
    name = PRESET_ALIASES.get(node.value, node.value)
    if name in PRESETS:
        return PRESETS[name]
    report.error(
        node, f"unknown link condition {quote(node.value)}{did_you_mean(node.value, PRESETS)}", one_of(PRESETS)
    )
    return None


def _check_combination(node: Node, found: LinkCondition, report: Report) -> None:
    """What the kernel would refuse, or apply as something else."""
    if found.jitter_ms and not found.latency_ms:
        report.error(node, "jitter_ms varies latency_ms, which is not given", "latency_ms as well")
    elif found.jitter_ms > found.latency_ms:
        report.warn(
            node, f"jitter_ms {found.jitter_ms:g} exceeds latency_ms {found.latency_ms:g}; no delay goes below 0"
        )
    if found.reorder_pct and not found.latency_ms:
        report.error(node, "reorder_pct lets packets overtake delayed ones, and none is delayed", "latency_ms as well")
    if found.loss_burst and not found.loss_pct:
        report.error(node, "loss_burst is the length of loss bursts, and nothing is lost", "loss_pct as well")
    if 0 < found.loss_burst < 1:
        report.error(node, f"a loss burst cannot be {found.loss_burst:g} packets long", "1 or more, or 0 for no bursts")
    if found.buffer_ms and not found.rate_kbit:
        report.error(node, "buffer_ms is the queue of a limited rate, and the rate is unlimited", "rate_kbit as well")
