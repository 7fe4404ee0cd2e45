"""What the terminal shows when all sims are over: one table, then every failure in detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from patchbay_runner.cli.text import elapsed, printable, shown_path
from patchbay_runner.cli.wording import failure_place, verdict_text
from patchbay_runner.results.documents import Status
from patchbay_runner.results.reports import format_number
from patchbay_runner.results.sim import SimRecord
from patchbay_runner.results.throughput import Measures, measure
from patchbay_runner.results.wording import note_line

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod

# More failures than fit on a few screens help nobody: the manifest has them all.
_DETAILED_FAILURES = 20
_OUTPUT_LINES = 20

_COLUMNS = ("Sim", "Status", "Steps", "Duration", "Down MB/s", "Up MB/s", "Latency ms")
_LEFT_COLUMNS = 2


def print_summary(console: Console, sims: Sequence[SimRecord], run: Path, runtime_s: float) -> None:
    """The table, the failures, and the line that says how it went and where everything is."""
    _print_table(console, [row for sim in sorted(sims, key=_rank) for row in _rows(sim)])
    failed = [sim for sim in sorted(sims, key=_rank) if sim.state.status in (Status.ERROR, Status.OVERLOADED)]
    for sim in failed[:_DETAILED_FAILURES]:
        _print_failure(console, sim)
    if len(failed) > _DETAILED_FAILURES:
        console.print(
            f"… and {len(failed) - _DETAILED_FAILURES} more failed; see {shown_path(run / 'manifest.json')}\n"
        )
    console.print(_conclusion(sims, run, runtime_s), soft_wrap=True)


def _rank(sim: SimRecord) -> int:
    """Failures come first, wherever their files stand."""
    return {Status.ERROR: 0, Status.OVERLOADED: 1, Status.INTERRUPTED: 2}.get(sim.state.status, 3)


def _rows(sim: SimRecord) -> Iterator[list[Text]]:
    """The sim's line; its results stand in it when they are one step's, else each in a line of its own."""
    state = sim.state
    measures = [measure(result) for result in state.results]
    total = len(state.plan.steps)
    steps = str(total) if state.status is Status.OK else f"{state.steps_done}/{total}"
    duration = elapsed(state.elapsed_s) if state.runtime_s is not None else ""
    own = [Text(state.plan.title), Text.assemble(verdict_text(state.status)), Text(steps), Text(duration)]
    yield own + (_cells(measures[0]) if len(measures) == 1 else [Text()] * 3)
    if len(measures) > 1:
        for each in measures:
            took = elapsed(each.duration_s) if each.duration_s is not None else ""
            yield [Text(f"  {each.id}", "dim"), Text(), Text(), Text(took, "dim"), *_cells(each)]


def _cells(measures: Measures) -> list[Text]:
    return [Text(format_number(value)) for value in (measures.down_mb_s, measures.up_mb_s, measures.latency_ms)]


def _print_table(console: Console, rows: list[list[Text]]) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    columns = [index for index in range(len(_COLUMNS)) if any(row[index] for row in rows)]
    for index in columns:
        # On a narrow screen names are folded, and figures stay whole.
        justify: JustifyMethod = "left" if index < _LEFT_COLUMNS else "right"
        table.add_column(_COLUMNS[index], justify=justify, no_wrap=index > 0, overflow="fold")
    for row in rows:
        table.add_row(*(row[index] for index in columns))
    console.print()
    console.print(table)
    console.print()


def _print_failure(console: Console, sim: SimRecord) -> None:
    state, failure = sim.state, sim.state.failure
    if failure is None:
        return
    place = failure_place(failure, len(state.plan.steps))
    heading = Text.assemble((state.plan.title, "bold"), " ", verdict_text(state.status), f" {place}")
    if failure.origin:
        heading.append(f" ({failure.origin})", "dim")
    console.print(heading, soft_wrap=True)
    for line in failure.message.splitlines():
        console.print(Text(f"  {printable(line)}"), soft_wrap=True)
    for line in failure.output[-_OUTPUT_LINES:]:
        console.print(Text.assemble(("  │ ", "dim"), printable(line)), soft_wrap=True)
    for note in state.notes:
        console.print(Text(f"  {printable(note_line(note))}", "yellow"), soft_wrap=True)
    for path in _where_to_look(sim):
        console.print(Text(f"  see {shown_path(path)}", "dim"), soft_wrap=True)
    console.print()


def _where_to_look(sim: SimRecord) -> list[Path]:
    """The logs of the step that failed, as far as there is anything in them; else the sim's directory."""
    failure = sim.state.failure
    if failure is not None and failure.traceback:
        return [sim.directory / "traceback.txt"]
    logs = [
        sim.directory / log.path
        for log in sim.state.logs
        if failure is not None and log.step and (log.step, log.node) == (failure.id, failure.device)
    ]
    return [log for log in logs if log.exists() and log.stat().st_size] or [sim.directory]


def _conclusion(sims: Sequence[SimRecord], run: Path, runtime_s: float) -> Text:
    text = Text()
    for status in (Status.OK, Status.ERROR, Status.OVERLOADED, Status.INTERRUPTED, Status.PENDING):
        number = sum(sim.state.status is status for sim in sims)
        if number:
            word, style = verdict_text(status)
            text.append(", " if text else "").append(f"{number} {word}", style)
    return text.append(f" in {elapsed(runtime_s)}").append(f" · {shown_path(run)}", "dim")
