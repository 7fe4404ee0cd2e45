"""`wait` and `wait-for`."""

from __future__ import annotations

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.steps.draft import Built, Table
from patchbay_runner.model.steps import Wait, WaitFor


def build_wait(table: Table, report: Report) -> Built | None:
    """A `wait` step."""
    if "duration" not in table.values:
        return None
    return Built(Wait(**table.base(), duration_s=table.get("duration")))


def build_wait_for(table: Table, report: Report) -> Built | None:
    """A `wait-for` step; which spawn its id means is known once ids are given."""
    return Built(WaitFor(**table.base(), **table.take("expect_exit"))) if "id" in table.values else None
