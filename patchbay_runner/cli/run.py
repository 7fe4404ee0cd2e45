"""`patchbay run`: sim files in, real networks and programs, results on disk, an exit code."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from patchbay_runner.binaries.overrides import Override
from patchbay_runner.cli.browser import BIND, Address
from patchbay_runner.cli.capturing import with_capture
from patchbay_runner.cli.cluster_options import cluster_options, open_load, open_workers
from patchbay_runner.cli.exports import Exports
from patchbay_runner.cli.jsonlines import JsonLines
from patchbay_runner.cli.livepage import LivePage
from patchbay_runner.cli.preparing import declared_names, ready_binaries
from patchbay_runner.cli.processors import automatic_jobs
from patchbay_runner.cli.run_options import WORK_DIR, run_options
from patchbay_runner.cli.sandboxed import ENTRY_NAME, PROBE_NAME, SimJob, probe_netem, run_sim
from patchbay_runner.cli.sandboxes import Sandboxes
from patchbay_runner.cli.scheduling import Pace, Place, Scheduler
from patchbay_runner.cli.selection import repeated, select
from patchbay_runner.cli.session import Session
from patchbay_runner.cli.sharding import take_part
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.errors import HostError
from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.loader import load
from patchbay_runner.loader.project import Jobs, read_project
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.documents import ShardOfRun
from patchbay_runner.results.files import Owner, calling_user
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.shards import Shard


@click.command()
@run_options
@click.option(
    "--vm", is_flag=True, expose_value=False, help="Runs them in a virtual machine, as `patchbay-vm run` does."
)
@cluster_options
@click.pass_obj
def run(
    session: Session,
    *,
    sims: tuple[str, ...],
    work_dir: Path | None,
    timeout_s: float | None,
    project_root: Path,
    no_build: bool,
    overrides: tuple[Override, ...],
    jobs: Jobs | None,
    is_failing_fast: bool,
    repeat: int,
    patterns: tuple[str, ...],
    axis_values: tuple[str, ...],
    is_capturing: bool | None,
    capture_bytes: int | None,
    is_verbose: bool,
    as_json: bool,
    is_pausing: bool,
    shard: Shard | None,
    earlier_runs: tuple[Path, ...],
    junit: Path | None,
    is_opening: bool,
    bind: Address | None,
    cluster: str | None,
    patience_s: float | None,
) -> int:
    """Runs SIMS: files, directories or globs of TOML files; those that patchbay.toml names by default."""
    _refuse_contradictions(
        is_opening=is_opening, bind=bind, is_pausing=is_pausing, cluster=cluster, patience_s=patience_s
    )
    settings = read_project(project_root, Path.cwd())
    loaded = load(sims or settings.simulations, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    chosen = select(loaded.plans, patterns, axis_values)
    part = take_part(chosen, shard, earlier_runs)
    plans = repeated(with_capture(part.plans, is_capturing, capture_bytes), repeat)
    declared = declared_names(loaded.plans)
    may_build, is_run_here = not no_build, cluster is None
    binaries = ready_binaries(
        plans, project_root, overrides, may_build=may_build, declared=declared, is_run_here=is_run_here
    )
    owner = calling_user(os.environ, os.geteuid())
    interruption = Interruption()
    with LivePage((bind or BIND) if is_opening else None) as page:
        with ExitStack() as stack:
            json_lines = stack.enter_context(JsonLines()) if as_json else None
            exports = stack.enter_context(Exports(junit, os.environ, owner))
            runs_directory = work_dir or settings.work_dir or Path(WORK_DIR)
            place: Place
            if cluster is None:
                zygote = stack.enter_context(Zygote.start({ENTRY_NAME: run_sim, PROBE_NAME: probe_netem}))
                place = Sandboxes(zygote, interruption)
            else:
                needs = open_load(stack, plans, project_root.resolve(), binaries, runs_directory)
                place = open_workers(cluster, patience_s, needs, interruption)
            interruption.note_signals()
            page.listen()
            directory = stack.enter_context(_new_run_directory(runs_directory, plans, owner, part.shard))
            session.run_directory = directory
            exports.run = directory.path
            page.start(directory.path)
            if json_lines:
                json_lines.begin(directory)
            limit_s = settings.timeout_s if timeout_s is None else timeout_s
            root = project_root.resolve()
            sim_jobs = _sim_jobs(directory, binaries, root, limit_s, owner, is_pausing=is_pausing)
            job_number = _job_count(jobs or settings.jobs, len(plans)) if is_run_here else _job_limit(jobs, len(plans))
            pace = Pace(jobs=job_number, is_failing_fast=is_failing_fast)
            scheduler = Scheduler(
                place, directory, sim_jobs, interruption, pace, is_verbose=is_verbose, json_lines=json_lines
            )
            try:
                code = asyncio.run(scheduler.run())
            finally:
                interruption.note_signals()
            if json_lines:
                json_lines.exit_code = code
        page.stay(interruption)
    return code


def _refuse_contradictions(
    *, is_opening: bool, bind: Address | None, is_pausing: bool, cluster: str | None, patience_s: float | None
) -> None:
    """Raises UsageError for options that make no sense together."""
    if bind and not is_opening:
        raise click.UsageError("--bind says where --open serves the page, and --open is missing")
    if is_pausing and cluster is not None:
        raise click.UsageError("--pause-on-failure waits for people on this machine, and --cluster runs sims on others")
    if patience_s is not None and cluster is None:
        raise click.UsageError("--cluster-wait says how long --cluster waits, and --cluster is missing")


def _sim_jobs(
    directory: RunDirectory,
    binaries: Sequence[dict[str, str]],
    project_root: Path,
    timeout_s: float | None,
    owner: Owner | None,
    *,
    is_pausing: bool,
) -> list[SimJob]:
    return [
        SimJob(
            plan=sim.state.plan,
            directory=str(sim.directory),
            project_root=str(project_root),
            binaries=paths,
            timeout_s=timeout_s,
            owner=owner,
            is_pausing=is_pausing,
        )
        for sim, paths in zip(directory.sims, binaries, strict=True)
    ]


def _job_count(asked: Jobs | None, sims: int) -> int:
    return min(automatic_jobs() if asked is None or asked == "auto" else asked, max(sims, 1))


def _job_limit(asked: Jobs | None, sims: int) -> int:
    """On a cluster the workers say how many sims they take."""
    return asked if isinstance(asked, int) else max(sims, 1)


def _new_run_directory(
    work_dir: Path, plans: Sequence[Plan], owner: Owner | None, shard: ShardOfRun | None
) -> RunDirectory:
    try:
        return RunDirectory.create(work_dir, plans, owner, shard)
    except HostError as error:
        elsewhere = f"patchbay run --work-dir {Path(tempfile.gettempdir()) / 'patchbay'} ..."
        raise HostError(error.problem, error.remedy or elsewhere) from error
