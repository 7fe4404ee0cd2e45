"""Steps of `on_failure` that fail are noted in every report, below what failed the sim."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from lxml import etree
from rich.console import Console

from patchbay_runner.cli.summary import print_summary
from patchbay_runner.results import messages
from patchbay_runner.results.junit import junit_xml
from patchbay_runner.results.record import RecordedRun, read_run
from patchbay_runner.results.reports import sim_markdown
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.sim import SimRecord
from patchbay_runner.results.step_summary import step_summary
from tests.unit.results_support import plan, step_failure

NOTE = "step 1 of on_failure: run dump on client failed: dump exited with code 9 (sims/relay.toml:9)"
EVENT = {
    "step": 0,
    "action": "run",
    "id": "dump",
    "device": "client",
    "origin": "sims/relay.toml:9",
    "phase": "step",
    "message": "dump exited with code 9\nand more",
    "output": ["no such file"],
    "on_failure": True,
}


@pytest.fixture
def noted(tmp_path: Path) -> tuple[RecordedRun, SimRecord]:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        sim.state.take(messages.Event("", "step_failed", EVENT))
        sim.end(step_failure(output=("refused",)))
    return read_run(directory.path), sim


def test_the_record_has_the_step_and_its_output(noted: tuple[RecordedRun, SimRecord]) -> None:
    document = noted[0].sims[0].document
    assert document is not None
    assert document.error is not None
    assert document.error.message == "fetcher exited with code 3"
    (note,) = document.on_failure_errors
    assert (note.step.id if note.step else None, note.output) == ("dump", ("no such file",))


def test_reports_note_it_below_the_failure(noted: tuple[RecordedRun, SimRecord]) -> None:
    run, sim = noted
    (failure,) = etree.fromstring(junit_xml(run)).iter("failure")
    assert failure.get("message") == "fetcher exited with code 3"
    assert failure.text.splitlines()[1:4] == ["fetcher exited with code 3", "| refused", NOTE]
    assert f"    │ refused\n    {NOTE}\n" in step_summary(run)
    report = sim_markdown(sim.state.sim_document(), sim.state.results_document())
    assert report.endswith(f"\n    refused\n\n- {NOTE}\n")


def test_the_terminal_notes_it_below_the_failure(noted: tuple[RecordedRun, SimRecord], tmp_path: Path) -> None:
    screen = io.StringIO()
    print_summary(Console(file=screen, width=80), [noted[1]], tmp_path, 1)
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert lines[lines.index("  │ refused") + 1] == f"  {NOTE}"
