"""`patchbay-vm inspect`: a network in the virtual machine that is there for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from patchbay_runner.cli.vm.guests import enter, is_terminal, name_option, recreate_option, version_option
from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.cli.vm.sims import Named, place_sims
from patchbay_runner.cli.vm.written import PassingCommand, written_options
from patchbay_runner.loader.load import load_network
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.versions import Version


@click.command(cls=PassingCommand)
@click.argument("file", type=click.Path(path_type=Path), metavar="SIM|TOPOLOGY")
@click.option("--matrix", "axis_values", multiple=True, metavar="KEY=VALUE", help="Which variant of the sim.")
@click.option("--json", "as_json", is_flag=True, help="Prints the network as one JSON line when it is up.")
@click.option("--project-root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@name_option
@recreate_option
@version_option
@click.pass_context
def inspect(
    ctx: click.Context,
    /,
    *,
    file: Path,
    as_json: bool,
    project_root: Path,
    name: str | None,
    is_recreating: bool,
    version: Version,
    **_passed: Any,
) -> int:
    """Builds a sim's network in the virtual machine, runs none of its steps, and keeps it until Ctrl-C."""
    settings = read_settings(project_root, MachineOptions(name=name))
    loaded = load_network(file, cwd=Path.cwd())
    inside = enter(settings, version, is_recreating=is_recreating)
    cwd, named = place_sims(inside.guest, Named((str(file),), loaded.files), settings.workspace)
    options = written_options(ctx, ("axis_values", "as_json"))
    return inside.run(["patchbay", "inspect", *options, "--", *named], cwd=cwd, tty=is_terminal() and not as_json)
