"""A run as the page of a CI step shows it: what `GITHUB_STEP_SUMMARY` is given, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from patchbay_runner.results.documents import Status
from patchbay_runner.results.record import RecordedRun, RecordedSim
from patchbay_runner.results.reports import markdown_table, render
from patchbay_runner.results.wording import note_line, step_title

# GitHub refuses a step's summary of more than 1 MiB, and other commands of the step may write to it too.
MOST_BYTES = 900_000
# Rows and failures in detail, as many as fit.
_SIZES = ((1000, 50), (200, 20), (50, 5), (20, 0))

_SHOWN = {
    Status.ERROR: ("❌ failed", 0),
    Status.INTERRUPTED: ("⚠️ interrupted", 1),
    Status.RUNNING: ("⚠️ interrupted", 1),
    Status.OVERLOADED: ("⚠️ overloaded", 1),
    Status.PENDING: ("⚪ not run", 2),
    Status.OK: ("✅ passed", 3),
}


class _Failure(msgspec.Struct, frozen=True):
    name: str
    verb: str
    place: str
    lines: list[str]


def step_summary(run: RecordedRun) -> str:
    """Markdown: how many passed, a table with what failed on top, and every failure in detail, as far as it fits."""
    texts = (_markdown(run.sims, *size) for size in _SIZES)
    return next((text for text in texts if len(text.encode()) <= MOST_BYTES), "")


def _markdown(sims: Sequence[RecordedSim], most_rows: int, most_failures: int) -> str:
    ordered = sorted(sims, key=lambda sim: _SHOWN[sim.summary.status][1])
    failures = [sim for sim in ordered if sim.document and sim.document.error]
    rows = [
        [sim.summary.title, sim.summary.source, _SHOWN[sim.summary.status][0], _duration(sim), sim.summary.error or ""]
        for sim in ordered[:most_rows]
    ]
    return render(
        "summary.md.j2",
        counts=_counts(sims),
        table=markdown_table(["Sim", "File", "Status", "Duration", "Reason"], rows) or "No sims.",
        more_rows=max(0, len(ordered) - most_rows),
        failures=[_failure(sim) for sim in failures[:most_failures]],
        more_failures=max(0, len(failures) - most_failures),
    )


def _counts(sims: Sequence[RecordedSim]) -> str:
    words: dict[str, int] = {}
    for sim in sims:
        word = _SHOWN[sim.summary.status][0].partition(" ")[2]
        words[word] = words.get(word, 0) + 1
    return ", ".join(f"{number} {word}" for word, number in words.items()) or "no sims"


def _duration(sim: RecordedSim) -> str:
    return "" if sim.summary.runtime_ms is None else f"{sim.summary.runtime_ms / 1000:.1f} s"


def _failure(sim: RecordedSim) -> _Failure:
    assert sim.document is not None
    error = sim.document.error
    assert error is not None
    place = ""
    if error.step:
        at = f" ({error.step.origin})" if error.step.origin else ""
        place = f"Step {error.step.index + 1}: {step_title(error.step)}{at}"
    lines = [*error.message.splitlines(), *(f"│ {line}" for line in error.output)]
    lines += map(note_line, sim.document.on_failure_errors)
    return _Failure(sim.summary.title, _SHOWN[sim.summary.status][0].partition(" ")[2], place, lines)
