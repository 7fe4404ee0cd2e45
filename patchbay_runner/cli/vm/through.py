"""`patchbay-vm run-in`, `shell` and `ps`: what is typed goes to patchbay in the guest."""

from __future__ import annotations

from pathlib import Path

import click

from patchbay_runner.cli.vm.guests import enter, is_terminal, version_option
from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.staging import APP
from patchbay_runner.vm.versions import Version


def _command(name: str, arguments: str, does: str) -> click.Command:
    """Our own options stand first, and what follows is not looked at."""

    def pass_on(*, words: tuple[str, ...], project_root: Path, machine: str | None, version: Version) -> int:
        settings = read_settings(project_root, MachineOptions(name=machine))
        inside = enter(settings, version, is_recreating=False)
        return inside.run(["patchbay", name, *words], cwd=APP, tty=is_terminal())

    pass_on.__doc__ = f"{does}: `patchbay {name}` in the virtual machine, with all of its options."
    command = click.command(name, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})(
        pass_on
    )
    for option in (
        click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar=arguments),
        click.option("--project-root", type=click.Path(path_type=Path, file_okay=False, exists=True), default="."),
        click.option("--name", "machine", metavar="NAME", help="The machine's name, for projects with several."),
        version_option,
    ):
        command = option(command)
    return command


run_in = _command("run-in", "NODE COMMAND...", "Runs COMMAND in NODE of a network that is up")
shell = _command("shell", "NODE", "Opens a shell in NODE of a network that is up")
ps = _command("ps", "[OPTIONS]", "Lists the networks that are up")
