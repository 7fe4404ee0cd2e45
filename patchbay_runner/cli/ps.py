"""`patchbay ps`: which networks are up, and what runs in them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

import click
import msgspec
from rich.table import Table
from rich.text import Text

from patchbay_runner.cli.labs import connect_to, own_directory
from patchbay_runner.cli.terminal import open_console
from patchbay_runner.cli.text import counted, elapsed, printable
from patchbay_runner.errors import LabError
from patchbay_runner.kernel.programs import RunningProgram, programs_in
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.registry import LabRecord, running_labs

# An agent that is still building its network answers later.
_PATIENCE_S = 5.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Prints one JSON object a network.")
def ps(*, as_json: bool) -> None:
    """Shows the networks of yours that are up, and the programs in them."""
    labs = running_labs(own_directory())
    found = [(lab, _programs(lab)) for lab in labs]
    if as_json:
        for lab, programs in found:
            click.echo(msgspec.json.encode({**msgspec.to_builtins(lab), "programs": programs}).decode())
        return
    if not labs:
        click.echo("no network of yours is up", err=True)
        return
    console = open_console()
    for lab, programs in found:
        console.print(Text(_headline(lab), "bold"), soft_wrap=True)
        console.print(Text(f"  {', '.join(lab.nodes)}", "dim"))
        if programs is None:
            console.print(Text("  being built", "yellow"))
        elif programs:
            console.print(_table(programs), soft_wrap=not console.is_terminal)


def _headline(lab: LabRecord) -> str:
    what = "paused after its failure" if lab.is_paused else {"inspect": "inspect", "run": "run"}[lab.kind]
    age = elapsed(max(0.0, time.time() - lab.since))
    return printable(f"{lab.id}: {what} of {lab.source}, {counted(len(lab.nodes), 'node')}, for {age}, pid {lab.pid}")


def _table(programs: Sequence[RunningProgram]) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for heading in ("node", "pid", "for", "program"):
        table.add_column(
            heading, justify="right" if heading in ("pid", "for") else "left", no_wrap=True, overflow="ellipsis"
        )
    for program in programs:
        cells = (program.node, str(program.pid), elapsed(program.age_s), printable(shlex.join(program.argv)))
        table.add_row(*map(Text, cells))
    return table


def _programs(lab: LabRecord) -> list[RunningProgram] | None:
    """The programs in a lab; None while it is being built, or just ended."""
    connection = connect_to(lab, _PATIENCE_S)
    if connection is None:
        return None
    client = LabClient(connection)
    try:
        mounts = client.call(commands.Views(), commands.ViewList).mounts
    except (LabError, TimeoutError):
        return None
    finally:
        client.close()
    return programs_in({inode: node for node, inode in mounts.items()})
