"""`signal`, `stop` and `restart`: what is done to a spawned program."""

from __future__ import annotations

import signal

from patchbay_runner.loader.diagnostics import Report, did_you_mean
from patchbay_runner.loader.node import Node, describe
from patchbay_runner.loader.shapes import accepts
from patchbay_runner.loader.steps.draft import Built, Table
from patchbay_runner.model.steps import STOP_GRACE_S, Restart, Signal, Stop

_SIGNALS = {found.name.removeprefix("SIG"): int(found) for found in signal.Signals}


@accepts({"type": ["string", "integer"]})
def signal_number(node: Node, report: Report) -> int | None:
    """A signal by its name, with or without "SIG", or by its number."""
    value = node.value
    if isinstance(value, str):
        name = value.upper().removeprefix("SIG")
        if name in _SIGNALS:
            return _SIGNALS[name]
        value = int(value) if value.isascii() and value.isdecimal() else value
    if isinstance(value, int) and not isinstance(value, bool) and value in signal.valid_signals():
        return int(value)
    hint = did_you_mean(value.upper().removeprefix("SIG"), _SIGNALS) if isinstance(value, str) else ""
    report.error(node, f"found {describe(node)}{hint}", 'a signal, such as "HUP", "SIGUSR1" or 10')
    return None


def build_signal(table: Table, report: Report) -> Built | None:
    """A `signal` step; which spawn its id means is known once ids are given."""
    if not {"id", "signal"} <= table.values.keys():
        return None
    return Built(Signal(**table.base(), **table.take("signal", "group")))


def build_stop(table: Table, report: Report) -> Built | None:
    """A `stop` step."""
    if "id" not in table.values:
        return None
    return Built(Stop(**table.base(), **table.take("signal", "expect_exit"), grace_s=table.get("grace", STOP_GRACE_S)))


def build_restart(table: Table, report: Report) -> Built | None:
    """A `restart` step."""
    if "id" not in table.values:
        return None
    return Built(Restart(**table.base(), **table.take("signal"), grace_s=table.get("grace", STOP_GRACE_S)))
