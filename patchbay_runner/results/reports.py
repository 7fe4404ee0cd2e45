"""results.md and combined-results.md: documents in, Markdown out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.results.documents import CombinedResults, CombinedSim, Sim, SimResults
from patchbay_runner.results.throughput import Measures, measure
from patchbay_runner.results.wording import note_line

if TYPE_CHECKING:
    import jinja2

_TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_VALUE = 80

_MEASURES = (
    ("Duration (s)", "duration_s"),
    ("Down (MB)", "down_mb"),
    ("Up (MB)", "up_mb"),
    ("Down (MB/s)", "down_mb_s"),
    ("Up (MB/s)", "up_mb_s"),
    ("Latency (ms)", "latency_ms"),
)


def sim_markdown(sim: Sim, results: SimResults) -> str:
    """results.md of one sim."""
    measures = [measure(step) for step in results.steps]
    rows = [[each.id, *_cells(each)] for each in measures]
    captures = [
        [key, _short(capture.value), str(capture.count or len(capture.history))]
        for key, capture in results.captures.items()
    ]
    return render(
        "sim.md.j2",
        sim=sim,
        notes=[note_line(note) for note in sim.on_failure_errors],
        results=markdown_table(["Step", *_headers()], rows),
        captures=markdown_table(["Capture", "Value", "Values"], captures),
    )


def combined_markdown(combined: CombinedResults) -> str:
    """combined-results.md: a line for each sim, then a line for each step with results."""
    details = [[_title(sim), each.id, *_cells(each)] for sim in combined.runs for each in map(measure, sim.steps)]
    return render(
        "combined.md.j2",
        run=combined.runs[0].run if combined.runs else "",
        sims=markdown_table(["Sim", "Status", "N", "Max Down (MB/s)", "Max Up (MB/s)"], map(_overview, combined.runs)),
        steps=markdown_table(["Sim", "Step", *_headers()], details),
    )


def _overview(sim: CombinedSim) -> list[str]:
    measures = [measure(step) for step in sim.steps]
    down = max((each.down_mb_s for each in measures if each.down_mb_s is not None), default=None)
    up = max((each.up_mb_s for each in measures if each.up_mb_s is not None), default=None)
    return [_title(sim), sim.status.value, str(len(measures)), format_number(down), format_number(up)]


def _title(sim: CombinedSim) -> str:
    return sim.sim if sim.attempt is None else f"{sim.sim} #{sim.attempt}"


def format_number(value: float | None) -> str:
    """Three significant digits or two decimals, whichever says more; "" for None."""
    if value is None:
        return ""
    return f"{value:.3g}" if 0 < abs(value) < 0.1 else f"{value:.2f}"


def _headers() -> list[str]:
    return [header for header, _ in _MEASURES]


def _cells(measures: Measures) -> list[str]:
    return [format_number(getattr(measures, field)) for _, field in _MEASURES]


def _short(value: str) -> str:
    first_line, _, more = value.partition("\n")
    return f"{first_line[:_LONGEST_VALUE]}…" if more or len(first_line) > _LONGEST_VALUE else first_line


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table without its empty columns; "" when there are no rows."""
    rows = list(rows)
    if not rows:
        return ""
    columns = [index for index in range(len(headers)) if any(row[index] for row in rows)]
    lines = [[headers[index] for index in columns], ["---"] * len(columns)]
    lines += [[_escape(row[index]) for index in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", "")


def render(template: str, **values: object) -> str:
    """The text of a template with values in it."""
    return load_templates().get_template(template).render(**values)


@cache
def load_templates() -> jinja2.Environment:
    """The template engine. Loading it takes longer than the end of a short sim should: call this beforehand."""
    import jinja2  # noqa: PLC0415 - most commands never write a report

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML
    )
    for name in environment.list_templates():
        environment.get_template(name)
    return environment
