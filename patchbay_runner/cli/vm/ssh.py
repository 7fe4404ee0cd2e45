"""`patchbay-vm ssh`: a command, or a shell, in the guest."""

from __future__ import annotations

import sys

import click

from patchbay_runner.cli.vm.machines import machine_of
from patchbay_runner.cli.vm.options import name_options
from patchbay_runner.vm.settings import Settings


@click.command(context_settings={"allow_interspersed_args": False})
@name_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENTS]…")
def ssh(*, settings: Settings, command: tuple[str, ...]) -> int:
    """Runs COMMAND in the guest, or a shell, and ends with its exit code. It gets a terminal when there is one."""
    guest = machine_of(settings).guest()
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    # Without a terminal a shell reads its commands from standard input.
    return guest.run(command if command or has_terminal else ("sh",), tty=has_terminal)
