"""The `patchbay-vm` command."""

from __future__ import annotations

import click

from patchbay_runner import __version__
from patchbay_runner.cli.lazygroup import LazyGroup

# As in cli/main.py: imported when used.
COMMANDS = {
    "run": "patchbay_runner.cli.vm.run",
    "test": "patchbay_runner.cli.vm.test",
    "inspect": "patchbay_runner.cli.vm.inspect",
    "run-in": "patchbay_runner.cli.vm.through",
    "shell": "patchbay_runner.cli.vm.through",
    "ps": "patchbay_runner.cli.vm.through",
    "serve": "patchbay_runner.cli.vm.serve",
    "up": "patchbay_runner.cli.vm.up",
    "down": "patchbay_runner.cli.vm.down",
    "status": "patchbay_runner.cli.vm.status",
    "ssh": "patchbay_runner.cli.vm.ssh",
    "cleanup": "patchbay_runner.cli.vm.cleanup",
    "image": "patchbay_runner.cli.vm.image",
}


class VmGroup(LazyGroup):
    """The commands of `patchbay-vm`."""

    shown = COMMANDS


@click.group("patchbay-vm", cls=VmGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="patchbay-vm %(version)s")
def patchbay_vm() -> None:
    """Runs sims and tests in a virtual machine, on hosts that cannot run labs themselves.

    The machine belongs to the project in the current directory, and stays up between commands.

    Exit codes: those of what ran in the machine, 2 the command line or a file is wrong, 4 there is no machine to be
    had, 130 interrupted.
    """
