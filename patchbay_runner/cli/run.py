"""`patchbay run`: sim files in, real networks and programs, results on disk, an exit code."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from patchbay_runner.cli.binaries import resolve_binaries
from patchbay_runner.cli.exports import Exports, junit_option
from patchbay_runner.cli.jsonlines import JsonLines
from patchbay_runner.cli.parameters import SIM_PATH, duration_s
from patchbay_runner.cli.sandboxed import ENTRY_NAME, SimJob, run_sim
from patchbay_runner.cli.scheduling import Scheduler
from patchbay_runner.cli.session import Session
from patchbay_runner.cli.sharding import Part, shard_options, take_part
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.errors import HostError, NotBuilt
from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.loader import load
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.files import Owner, calling_user
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.shards import Shard


@click.command()
@click.argument("sims", nargs=-1, type=SIM_PATH)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=".patchbay-work",
    show_default=True,
    help="Where run directories are made.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="DURATION",
    callback=duration_s,
    help='Ends each sim after this long, such as "30m".',
)
@click.option(
    "--project-root",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=".",
    help="Where programs start and binaries are looked for; the working directory by default.",
)
@click.option("-v", "--verbose", "is_verbose", is_flag=True, help="Shows every step and capture.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Prints what happens as JSON lines; what people read goes to standard error.",
)
@shard_options
@junit_option
@click.pass_obj
def run(
    session: Session,
    *,
    sims: tuple[str, ...],
    work_dir: Path,
    timeout_s: float | None,
    project_root: Path,
    is_verbose: bool,
    as_json: bool,
    shard: Shard | None,
    earlier_runs: tuple[Path, ...],
    junit: Path | None,
) -> int:
    """Runs SIMS: files, directories or globs of TOML files."""
    loaded = load(sims, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    part = take_part(loaded.plans, shard, earlier_runs)
    refuse_unbuilt(part.plans)
    root = project_root.resolve()
    binaries = resolve_binaries(part.plans, root, os.environ)
    owner = calling_user(os.environ, os.geteuid())
    with ExitStack() as stack:
        json_lines = stack.enter_context(JsonLines()) if as_json else None
        exports = stack.enter_context(Exports(junit, os.environ, owner))
        zygote = stack.enter_context(Zygote.start({ENTRY_NAME: run_sim}))
        interruption = Interruption()
        interruption.note_signals()
        directory = stack.enter_context(_new_run_directory(work_dir, part, owner))
        session.run_directory = directory
        exports.run = directory.path
        if json_lines:
            json_lines.begin(directory)
        jobs = [
            SimJob(
                plan=sim.state.plan,
                directory=str(sim.directory),
                project_root=str(root),
                binaries=paths,
                timeout_s=timeout_s,
                owner=owner,
            )
            for sim, paths in zip(directory.sims, binaries, strict=True)
        ]
        scheduler = Scheduler(zygote, directory, jobs, interruption, is_verbose=is_verbose, json_lines=json_lines)
        try:
            code = asyncio.run(scheduler.run())
        finally:
            interruption.note_signals()
        if json_lines:
            json_lines.exit_code = code
        return code


def _new_run_directory(work_dir: Path, part: Part, owner: Owner | None) -> RunDirectory:
    try:
        return RunDirectory.create(work_dir, part.plans, owner, part.shard)
    except HostError as error:
        elsewhere = f"patchbay run --work-dir {Path(tempfile.gettempdir()) / 'patchbay'} ..."
        raise HostError(error.problem, error.remedy or elsewhere) from error


def refuse_unbuilt(plans: Sequence[Plan]) -> None:
    """Raises NotBuilt when a plan asks for what this version cannot do: nothing is silently weaker than asked."""
    unbuilt = dict.fromkeys(line for plan in plans for line in plan.unbuilt)
    if unbuilt:
        raise NotBuilt(tuple(unbuilt))
