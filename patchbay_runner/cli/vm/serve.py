"""`patchbay-vm serve`: the runs of the machine in a browser of this one.

The server is in the guest: it knows which runs are alive by locks that this machine does not see, and it is told of
changes there.
"""

from __future__ import annotations

from pathlib import Path

import click

from patchbay_runner.cli.browser import BIND, Address, bind_option
from patchbay_runner.cli.vm.forwarding import served
from patchbay_runner.cli.vm.guests import enter, is_terminal, name_option, version_option
from patchbay_runner.cli.vm.options import read_settings
from patchbay_runner.cli.vm.suites import STAGED
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.staging import APP, WORK
from patchbay_runner.vm.versions import Version

# Where the crate `testdir` keeps what the last tests of Rust wrote: beside their program.
_TESTDIR = WORK / STAGED / "testdir-current"


@click.command()
@click.argument("directory", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--testdir", "is_testdir", is_flag=True, help="Shows what the last Rust tests wrote by testdir.")
@click.option("--open", "is_opening", is_flag=True, help="Opens a browser.")
@bind_option
@click.option("--work-dir", type=click.Path(path_type=Path, file_okay=False), help="What the guest sees as /work.")
@click.option("--project-root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".")
@name_option
@version_option
def serve(
    *,
    directory: Path | None,
    is_testdir: bool,
    is_opening: bool,
    bind: Address | None,
    work_dir: Path | None,
    project_root: Path,
    name: str | None,
    version: Version,
) -> int:
    """Shows the runs below DIR, the work directory by default, in a browser; live while they run. Ctrl-C ends it."""
    if directory and is_testdir:
        raise click.UsageError("--testdir is a directory, and DIR is another")
    work = None if work_dir is None else str(Path.cwd() / work_dir)
    inside = enter(read_settings(project_root, MachineOptions(name=name, work=work)), version, is_recreating=False)
    shown: str | None = str(_TESTDIR if is_testdir else WORK)
    if directory:
        shown = inside.guest.inside(directory.resolve())
    if shown is None:
        raise click.BadParameter(f"the machine does not see {directory}", param_hint="DIR")
    with served(inside.guest, bind or BIND, is_opening=is_opening) as address:
        return inside.run(["patchbay", "serve", *address, shown], cwd=APP, tty=is_terminal())
