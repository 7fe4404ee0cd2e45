"""`patchbay-vm down`: the end of the project's machine, but not of its disk."""

from __future__ import annotations

import click

from patchbay_runner.cli.vm.machines import machine_of, tell
from patchbay_runner.cli.vm.options import name_options
from patchbay_runner.vm.settings import Settings


@click.command()
@name_options
def down(*, settings: Settings) -> None:
    """Shuts the machine down. Its disk stays for the next `up`."""
    was_up = machine_of(settings).down(report=tell)
    click.echo(f"{settings.name} is down" if was_up else f"{settings.name} was not up")
