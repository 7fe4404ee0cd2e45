"""`patchbay-vm cleanup`: what killed commands left of the project's machine."""

from __future__ import annotations

import click

from patchbay_runner.cli.text import printable
from patchbay_runner.cli.vm.machines import machine_of, tell
from patchbay_runner.cli.vm.options import name_options
from patchbay_runner.vm.settings import Settings


@click.command()
@name_options
@click.option(
    "--disk", "is_removing_disk", is_flag=True, help="Removes the disk and the key of a machine that is down."
)
def cleanup(*, settings: Settings, is_removing_disk: bool) -> None:
    """Ends a machine that never came up, and removes stale sockets and other files. A machine that is up stays."""
    machine = machine_of(settings)
    removed = machine.cleanup(report=tell)
    if is_removing_disk:
        removed += machine.remove()
    for path in removed:
        click.echo(printable(f"removed {path}"))
    if not removed:
        click.echo("there was nothing to remove")
