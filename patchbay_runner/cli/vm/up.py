"""`patchbay-vm up`: the project's machine, booted unless it is up."""

from __future__ import annotations

import click

from patchbay_runner.cli.vm.machines import machine_of, tell
from patchbay_runner.cli.vm.options import machine_options
from patchbay_runner.cli.vm.status import show
from patchbay_runner.vm.settings import Settings


@click.command()
@machine_options
@click.option("--recreate", "is_recreating", is_flag=True, help="Starts over with a new disk.")
def up(*, settings: Settings, is_recreating: bool) -> None:
    """Boots the machine, or sees that it is up."""
    machine = machine_of(settings)
    machine.up(recreate=is_recreating, report=tell)
    show(machine.status())
