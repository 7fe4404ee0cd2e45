"""`patchbay merge`: the run directories of shards, or of any runs, as one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from patchbay_runner.cli.exports import Exports, junit_option
from patchbay_runner.cli.scheduling import code_of_phases
from patchbay_runner.cli.text import counted, printable, shown_path
from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.loader.project import read_project
from patchbay_runner.results.documents import RunStatus, Status
from patchbay_runner.results.files import calling_user
from patchbay_runner.results.merged import write_merged
from patchbay_runner.results.merging import merge as put_together
from patchbay_runner.results.record import RecordedRun, RecordedSim, find_runs, is_running, read_run

_WORK_DIR = ".patchbay-work"
_WORDS = {
    Status.OK: "passed",
    Status.ERROR: "failed",
    Status.OVERLOADED: "overloaded",
    Status.INTERRUPTED: "interrupted",
    Status.PENDING: "not run",
}


@click.command()
@click.argument("directories", nargs=-1, type=click.Path(path_type=Path), metavar="DIR...", required=True)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Where the run directory is made; that of patchbay.toml, or {_WORK_DIR}, by default.",
)
@junit_option
def merge(directories: tuple[Path, ...], *, work_dir: Path | None, junit: Path | None) -> int:
    """Joins the runs in each DIR, a run directory or one with runs below it, into a new run directory.

    Ends with the exit code that one run of all these sims would have ended with; 130 when something is missing.
    """
    paths = dict.fromkeys(run.resolve() for directory in directories for run in find_runs(directory))
    runs = [read_run(path) for path in paths]
    _refuse_running(runs)
    place = work_dir or read_project(Path(), Path.cwd()).work_dir or Path(_WORK_DIR)
    owner = calling_user(os.environ, os.geteuid())
    # The shards' own jobs have annotated their failures; the whole is summed up once.
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_ACTIONS"}
    with Exports(junit, environment, owner) as exports:
        merger = put_together(runs)
        for remark in (*merger.gaps, *merger.remarks):
            click.echo(f"warning: {printable(remark)}", err=True)
        exports.run = write_merged(merger, runs, place, owner)
    return _conclude(read_run(exports.run), len(runs))


def _refuse_running(runs: list[RecordedRun]) -> None:
    problems = [Diagnostic(str(run.path), 0, "", "this run is not over yet") for run in runs if is_running(run)]
    if problems:
        raise InputError(problems)


def _conclude(run: RecordedRun, number: int) -> int:
    for sim in run.sims:
        if sim.summary.status not in (Status.OK, Status.PENDING):
            click.echo(_failure_line(sim))
    counts = [
        f"{times} {word}"
        for status, word in _WORDS.items()
        if (times := sum(sim.summary.status is status for sim in run.sims))
    ]
    click.echo(f"{', '.join(counts) or 'no sims'}, from {counted(number, 'run')} · {shown_path(run.path)}")
    phases = {sim.document.error.phase for sim in run.sims if sim.document and sim.document.error}
    return code_of_phases(phases, is_interrupted=run.manifest.status is RunStatus.INTERRUPTED)


def _failure_line(sim: RecordedSim) -> str:
    origin = ""
    if sim.document and sim.document.error and sim.document.error.step:
        origin = f" ({sim.document.error.step.origin})"
    return printable(f"{sim.summary.title}: {_WORDS[sim.summary.status]}{origin}: {sim.summary.error or ''}")
