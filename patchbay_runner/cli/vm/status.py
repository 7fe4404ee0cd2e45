"""`patchbay-vm status`: what is known of the project's machine."""

from __future__ import annotations

import click
import msgspec

from patchbay_runner.cli.text import elapsed, printable
from patchbay_runner.cli.vm.machines import machine_of
from patchbay_runner.cli.vm.options import name_options
from patchbay_runner.model.sizes import format_size
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.status import Status


@click.command()
@name_options
@click.option("--json", "as_json", is_flag=True, help="Prints one JSON object.")
def status(*, settings: Settings, as_json: bool) -> None:
    """Shows whether the machine is up, how it is reached, what it shares and what runs it."""
    found = machine_of(settings).status()
    if as_json:
        click.echo(msgspec.json.encode(found, enc_hook=str).decode())
    else:
        show(found)


def show(found: Status) -> None:
    """Prints a status for people."""
    for line in _lines(found):
        click.echo(printable(line))


def _lines(found: Status) -> list[str]:
    what = found.condition + (f": {found.detail}" if found.detail else "")
    if found.up_s is None:
        disk = f", its disk takes {format_size(found.disk_bytes)}" if found.disk_bytes else ""
        return [f"{found.name}: {what}{disk}"]
    lines = [
        f"{found.name}: {what}, for {elapsed(found.up_s)}, pid {found.pid}",
        f"  ssh       127.0.0.1 port {found.ssh_port}, user {found.user}",
        f"  hardware  {found.accelerator}, {found.processors} processors, {found.memory_mb} MB",
        *(f"            {each.accelerator} does not work: {each.reason}" for each in found.passed_over),
        f"  image     {found.image}",
        f"  disk      {found.directory}, {format_size(found.disk_bytes)}",
    ]
    for share in found.shares:
        access = "read-write" if share.is_writable else "read-only"
        lines.append(f"  {share.guest:<9} {share.host}, {access}, by {share.by}")
    return lines
