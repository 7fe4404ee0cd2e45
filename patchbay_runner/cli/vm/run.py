"""`patchbay-vm run`: sims in the project's virtual machine, results on this one."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import click

from patchbay_runner.binaries import Options, resolve
from patchbay_runner.binaries.overrides import Override
from patchbay_runner.cli.browser import BIND, Address
from patchbay_runner.cli.capturing import with_capture
from patchbay_runner.cli.exports import prepare_export
from patchbay_runner.cli.fetching import open_progress
from patchbay_runner.cli.preparing import declared_names, signals_interrupt
from patchbay_runner.cli.run_options import run_options
from patchbay_runner.cli.selection import select
from patchbay_runner.cli.sharding import take_part
from patchbay_runner.cli.vm.forwarding import served
from patchbay_runner.cli.vm.guests import Inside, enter, is_terminal, name_option, recreate_option, version_option
from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.cli.vm.sims import Named, place_sims
from patchbay_runner.cli.vm.written import PassingCommand, written_options
from patchbay_runner.loader import load
from patchbay_runner.loader.project import read_project
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.results.files import write_atomically
from patchbay_runner.results.shards import Shard
from patchbay_runner.vm.crates import choose_platform
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.staging import APP, WORK, check_programs, link_path, stage_programs
from patchbay_runner.vm.versions import Version

# What a `patchbay run` in the guest is told as it was written here.
_PASSED = (
    "timeout_s",
    "jobs",
    "is_failing_fast",
    "repeat",
    "patterns",
    "axis_values",
    "is_capturing",
    "capture_bytes",
    "is_verbose",
    "as_json",
    "is_pausing",
    "shard",
)


@click.command(cls=PassingCommand)
@run_options
@name_option
@recreate_option
@version_option
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    sims: tuple[str, ...],
    work_dir: Path | None,
    project_root: Path,
    no_build: bool,
    overrides: tuple[Override, ...],
    patterns: tuple[str, ...],
    axis_values: tuple[str, ...],
    is_capturing: bool | None,
    capture_bytes: int | None,
    as_json: bool,
    shard: Shard | None,
    earlier_runs: tuple[Path, ...],
    junit: Path | None,
    is_opening: bool,
    bind: Address | None,
    name: str | None,
    is_recreating: bool,
    version: Version,
    **_passed: Any,
) -> int:
    """Runs SIMS in the virtual machine; it takes what `patchbay run` takes, and starts where it is not up."""
    if bind and not is_opening:
        raise click.UsageError("--bind says where --open serves the page, and --open is missing")
    work = None if work_dir is None else str(Path.cwd() / work_dir)
    settings = read_settings(project_root, MachineOptions(name=name, work=work))
    project = read_project(project_root, Path.cwd())
    texts = sims or project.simulations
    loaded = load(texts, cwd=Path.cwd())
    chosen = take_part(select(loaded.plans, patterns, axis_values), shard, earlier_runs)
    plans = with_capture(chosen.plans, is_capturing, capture_bytes)
    found = _programs(plans, declared_names(loaded.plans), settings, overrides, may_build=not no_build)
    programs = check_programs(found, settings.architecture)
    if junit:
        prepare_export(junit, None)
    inside = enter(settings, version, is_recreating=is_recreating)
    app = link_path(inside.guest, settings.workspace, APP)
    is_below = app != APP and settings.work.is_relative_to(settings.workspace)
    work_there = link_path(inside.guest, settings.work, WORK, is_over=is_below)
    arguments = ["--project-root", str(app), "--work-dir", str(work_there), *written_options(ctx, _PASSED)]
    arguments += _durations(inside, earlier_runs)
    with _brought_home(junit, settings) as export, served(inside.guest, (bind or BIND) if is_opening else None) as page:
        arguments += ["--junit", str(export)] if export else []
        arguments += page
        tty = is_terminal() and not as_json
        return _run(
            inside, Named(texts, loaded.files), programs, arguments, workspace=settings.workspace, app=app, tty=tty
        )


def _run(
    inside: Inside,
    named: Named,
    programs: Mapping[str, Path],
    arguments: Sequence[str],
    *,
    workspace: Path,
    app: PurePosixPath,
    tty: bool,
) -> int:
    guest = inside.guest
    binaries = [
        argument
        for name, place in stage_programs(guest, programs).items()
        for argument in ("--binary", f"{name}:path:{place}")
    ]
    command = ["patchbay", "run", "--no-build", *binaries, *arguments, "--"]
    cwd, sims = place_sims(guest, named, workspace, app)
    return inside.run([*command, *sims], cwd=cwd, tty=tty)


def _programs(
    plans: Sequence[Plan],
    declared: frozenset[str],
    settings: Settings,
    overrides: tuple[Override, ...],
    *,
    may_build: bool,
) -> list[dict[str, str]]:
    """For each plan, its programs on this machine, built so that they run in the guest. Raises InputError."""
    environment = dict(os.environ)
    if sys.platform != "linux" and any(binary.mode in ("build", "target") for p in plans for binary in p.binaries):
        platform = choose_platform(settings.architecture, environment)
        environment |= {**platform.environment, "RUST_TARGET": platform.triple}
    options = Options(
        project_root=settings.workspace,
        environment=environment,
        cwd=Path.cwd(),
        overrides=overrides,
        declared=declared,
        may_build=may_build,
    )
    with signals_interrupt(), open_progress() as progress:
        return resolve(plans, options, progress)


def _durations(inside: Inside, runs: Sequence[Path]) -> list[str]:
    """Earlier runs, where the guest has them."""
    arguments = []
    for path in runs:
        place = inside.guest.inside(path.resolve())
        if place is None:
            raise click.BadParameter(f"the machine sees neither {path} nor what is in it", param_hint="--durations")
        arguments += ["--durations", place]
    return arguments


@contextmanager
def _brought_home(file: Path | None, settings: Settings) -> Iterator[PurePosixPath | None]:
    """Where the guest may write `file`, which is there at the end of the block if the guest has written any."""
    if file is None:
        yield None
        return
    name = f".export-{secrets.token_hex(8)}"
    try:
        yield WORK / name
    finally:
        written = settings.work / name
        if written.exists():
            write_atomically(file, written.read_bytes())
            written.unlink()
