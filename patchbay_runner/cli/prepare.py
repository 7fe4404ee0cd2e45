"""`patchbay prepare`: everything that `run` would fetch and build, and nothing more."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay_runner.binaries.overrides import Override
from patchbay_runner.cli.parameters import SIM_PATH
from patchbay_runner.cli.preparing import binary_options, declared_names, ready_binaries
from patchbay_runner.cli.text import printable, shown_path
from patchbay_runner.loader import load
from patchbay_runner.loader.project import read_project


@click.command()
@click.argument("sims", nargs=-1, type=SIM_PATH)
@binary_options
def prepare(sims: tuple[str, ...], *, project_root: Path, no_build: bool, overrides: tuple[Override, ...]) -> int:
    """Fetches and builds the binaries of SIMS, so that a run of them needs no network; prints where they are."""
    loaded = load(sims or read_project(project_root, Path.cwd()).simulations, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    declared = declared_names(loaded.plans)
    resolved = ready_binaries(loaded.plans, project_root, overrides, may_build=not no_build, declared=declared)
    found = dict.fromkeys((name, path) for paths in resolved for name, path in paths.items())
    width = max((len(name) for name, _ in found), default=0)
    for name, path in found:
        click.echo(printable(f"{name:<{width}}  {shown_path(Path(path))}"))
    if not found:
        click.echo("the sims declare no binaries")
    return 0
