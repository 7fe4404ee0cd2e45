"""`wait`, `wait-for` and `wait-for-capture`."""

from __future__ import annotations

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.steps.draft import Built, Table, Use
from patchbay_runner.model.steps import Wait, WaitFor, WaitForCapture


def build_wait(table: Table, report: Report) -> Built | None:
    """A `wait` step."""
    if "duration" not in table.values:
        return None
    return Built(Wait(**table.base(), duration_s=table.get("duration")))


def build_wait_for(table: Table, report: Report) -> Built | None:
    """A `wait-for` step; which spawn its id means is known once ids are given."""
    return Built(WaitFor(**table.base(), **table.take("expect_exit"))) if "id" in table.values else None


def build_wait_for_capture(table: Table, report: Report) -> Built | None:
    """A `wait-for-capture` step."""
    if "capture" not in table.values:
        return None
    step = WaitForCapture(**table.base(), **table.take("capture", "count"))
    return Built(step, uses=(Use("check", step.capture, table.at("capture")),))
