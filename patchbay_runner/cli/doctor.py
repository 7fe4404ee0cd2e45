"""`patchbay doctor`: can this host run labs, and what would change that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from rich.text import Text

from patchbay_runner.cli.terminal import open_console
from patchbay_runner.cli.text import counted, printable
from patchbay_runner.errors import HostError
from patchbay_runner.kernel.probes import Probe, Verdict, examine_host
from patchbay_runner.lab.trial import TRIAL, run_trial

if TYPE_CHECKING:
    from rich.console import Console

_STYLES: dict[Verdict, str] = {"fine": "green", "weaker": "yellow", "missing": "red"}
_KEPT = "sysctl settings last until the next boot; lines such as NAME=VALUE in /etc/sysctl.d/60-patchbay.conf stay"


class Diagnosis(msgspec.Struct, frozen=True):
    """What --json prints."""

    can_run_labs: bool
    probes: list[Probe]
    schema: int = 1


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Prints everything as one JSON document.")
def doctor(*, as_json: bool) -> int:
    """Looks whether this host can run labs, and says what would help. Exit code 4 when it cannot."""
    probes = examine_host({TRIAL: run_trial})
    diagnosis = Diagnosis(not any(probe.prevents_labs for probe in probes), probes)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(diagnosis), indent=2))
    else:
        _print(diagnosis, open_console())
    return 0 if diagnosis.can_run_labs else HostError.exit_code


def _print(diagnosis: Diagnosis, console: Console) -> None:
    width = max(len(probe.name) for probe in diagnosis.probes)
    for probe in diagnosis.probes:
        _print_probe(probe, width, console)
    console.print()
    if any("sysctl -w" in probe.remedy for probe in _imperfect(diagnosis.probes)):
        console.print(Text(_KEPT, style="dim"))
    console.print(_conclusion(diagnosis))
    if any(probe.prevents_labs for probe in diagnosis.probes):
        console.print(Text("in a virtual machine it can: patchbay run --vm, patchbay-vm test", style="cyan"))


def _print_probe(probe: Probe, width: int, console: Console) -> None:
    line = Text.assemble((f"{probe.verdict:<7}", _STYLES[probe.verdict]), "  ", (f"{probe.name:<{width}}", "bold"))
    console.print(line.append(f"  {printable(probe.found.splitlines()[0])}"), soft_wrap=True)
    # Whole lines, however narrow the terminal is: commands are there to be copied.
    indent = " " * (width + 11)
    if probe.meaning:
        console.print(Text(f"{indent}{probe.meaning}"), soft_wrap=True)
    if probe.remedy:
        console.print(Text(f"{indent}try: {probe.remedy}", style="cyan"), soft_wrap=True)


def _conclusion(diagnosis: Diagnosis) -> Text:
    preventing = [probe.name for probe in diagnosis.probes if probe.prevents_labs]
    if preventing:
        return Text(f"this host cannot run labs: {', '.join(preventing)}", style="bold red")
    flaws = len(_imperfect(diagnosis.probes))
    limits = f", with {counted(flaws, 'limit')}" if flaws else ""
    return Text(f"this host can run labs{limits}", style="bold green")


def _imperfect(probes: Sequence[Probe]) -> list[Probe]:
    return [probe for probe in probes if probe.verdict != "fine"]
