"""`patchbay plan`: what the loader makes of sim files, without running anything."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import tomli_w
from rich.table import Table
from rich.text import Text

from patchbay_runner.cli.parameters import SIM_PATH
from patchbay_runner.cli.selection import select, selection_options
from patchbay_runner.cli.sharding import shard_options, take_part
from patchbay_runner.cli.terminal import open_console
from patchbay_runner.cli.text import counted, printable
from patchbay_runner.loader import load
from patchbay_runner.loader.project import read_project
from patchbay_runner.loader.resolved import resolved_document
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import action_of
from patchbay_runner.model.steptext import summary_of
from patchbay_runner.results.files import make_directories, write_atomically
from patchbay_runner.results.shards import Shard

if TYPE_CHECKING:
    from rich.console import Console

# The beginning of every file that --toml writes: only such files are written again.
_MARK = "# written by patchbay plan"


@click.command()
@click.argument("sims", nargs=-1, type=SIM_PATH)
@selection_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Prints the plans as a JSON list: all that a sandbox is told, the network included.",
)
@click.option(
    "--toml",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Writes each variant to DIR as a sim file with nothing left to resolve; a file there that it did not write is "
    "an error.",
)
@shard_options
def plan(
    sims: tuple[str, ...],
    *,
    patterns: tuple[str, ...],
    axis_values: tuple[str, ...],
    as_json: bool,
    directory: Path | None,
    shard: Shard | None,
    earlier_runs: tuple[Path, ...],
) -> None:
    """Shows what SIMS (files, directories or globs) become: the steps of every variant. Nothing is run."""
    loaded = load(sims or read_project(Path(), Path.cwd()).simulations, cwd=Path.cwd())
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)
    plans = take_part(select(loaded.plans, patterns, axis_values), shard, earlier_runs).plans
    if directory is not None:
        _write_files(plans, directory)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(plans), indent=2))
    elif directory is None:
        _print_plans(plans, open_console())


def _write_files(plans: Sequence[Plan], directory: Path) -> None:
    """One file a plan, named after it. Sims that somebody wrote are not overwritten."""
    files: dict[Path, Plan] = {}
    taken: Counter[str] = Counter()
    for found in plans:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", found.name)
        taken[stem] += 1
        path = directory / (f"{stem}.toml" if taken[stem] == 1 else f"{stem}-{taken[stem]}.toml")
        if path.exists() and not path.read_bytes().startswith(_MARK.encode()):
            raise click.BadParameter(f"{path} is there, and not of our making", param_hint="--toml")
        files[path] = found
    make_directories(directory)
    for path, found in files.items():
        text = f"{_MARK}, from {printable(found.source)}\n\n{tomli_w.dumps(resolved_document(found))}"
        write_atomically(path, text.encode())
        click.echo(str(path), err=True)


def _print_plans(plans: Sequence[Plan], console: Console) -> None:
    for found in plans:
        console.print(Text(_headline(found), style="bold"))
        console.print(_steps_table(found))
    console.print(counted(len(plans), "sim"))


def _headline(found: Plan) -> str:
    matrix = ", ".join(f"{axis} = {value}" for axis, value in found.matrix.items())
    network = f"{counted(len(found.topology.routers), 'router')}, {counted(len(found.topology.devices), 'device')}"
    return printable(f"{found.name} ({found.source}{f'; {matrix}' if matrix else ''}): {network}")


def _steps_table(found: Plan) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for heading in ("#", "action", "id", "on", "what", "written at"):
        table.add_column(heading, justify="right" if heading == "#" else "left", overflow="fold")
    numbered = [(str(position), step) for position, step in enumerate(found.steps)]
    for position, step in [*numbered, *(("on failure", step) for step in found.on_failure)]:
        cells = (position, action_of(step), step.id, getattr(step, "device", None) or "", summary_of(step))
        table.add_row(*(Text(printable(cell)) for cell in (*cells, str(step.origin))))
    return table
