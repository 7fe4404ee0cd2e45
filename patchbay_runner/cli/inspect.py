"""`patchbay inspect`: a network that is there for people, until they have seen enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from patchbay_runner.cli.labs import option_for, own_directory, record_of
from patchbay_runner.cli.preparing import signals_interrupt
from patchbay_runner.cli.selection import chosen_plan
from patchbay_runner.cli.terminal import open_console
from patchbay_runner.cli.text import counted, printable
from patchbay_runner.errors import SandboxDied
from patchbay_runner.kernel.sandbox import Sandbox, SandboxOptions, Zygote
from patchbay_runner.lab.agent import serve_lab
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.registry import LabRecord, Registration, register
from patchbay_runner.model.plan import Plan

_ENTRY = "lab"


@click.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="SIM|TOPOLOGY")
@click.option(
    "--matrix",
    "axis_values",
    multiple=True,
    metavar="KEY=VALUE",
    help="Which variant of the sim, by the values of its matrix; repeat it until one is left.",
)
@click.option("--json", "as_json", is_flag=True, help="Prints the network as one JSON line when it is up.")
def inspect(file: Path, *, axis_values: tuple[str, ...], as_json: bool) -> int:
    """Builds a sim's network, runs none of its steps, and keeps it until Ctrl-C."""
    plan = chosen_plan(file, axis_values)
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote.start({_ENTRY: serve_lab}))
        stack.enter_context(signals_interrupt())
        registration = stack.enter_context(register(own_directory(), record_of(plan, "inspect")))
        options = SandboxOptions(user=plan.user)
        sandbox = stack.enter_context(zygote.sandbox(_ENTRY, fds=[registration.listener.fileno()], options=options))
        registration.drop_listener()
        state = _build(sandbox, plan)
        try:
            _show(registration, plan, state, as_json=as_json)
            _wait(sandbox)
        except KeyboardInterrupt:
            beginning = "\n" if sys.stderr.isatty() else ""  # behind the ^C of a terminal
            click.echo(f"{beginning}{registration.record.id} has ended", err=True)
            return 0
    raise AssertionError("a sandbox that ends by itself raises")


def _build(sandbox: Sandbox, plan: Plan) -> dict[str, Any]:
    """Returns the network's state when it is up. Raises LabError, HostError."""
    sandbox.wait_ready()
    client = LabClient(sandbox.control)
    return client.build(plan.topology, plan.seed)


def _wait(sandbox: Sandbox) -> None:
    """Waits for an end that nobody asked for. Raises what it was."""
    ended = sandbox.wait()
    raise ended.error or SandboxDied(f"the sandbox ended by itself ({ended})")


def _show(registration: Registration, plan: Plan, state: dict[str, Any], *, as_json: bool) -> None:
    record = registration.record
    if as_json:
        click.echo(msgspec.json.encode({"type": "inspecting", **msgspec.to_builtins(record), "state": state}).decode())
        return
    which = option_for(record)
    console = open_console()
    headline = f"{record.name} ({plan.source}) is up as {record.id}: {counted(len(record.nodes), 'node')}"
    console.print(Text(printable(headline), "bold"))
    console.print(_table(record, state, which), soft_wrap=not console.is_terminal)
    lines = [f"  patchbay run-in NODE{which} -- COMMAND   runs a program", "  Ctrl-C ends it, with everything in it"]
    for line in lines:
        console.print(Text(line, "dim"))


def _table(record: LabRecord, state: dict[str, Any], which: str) -> Table:
    table = Table(box=None, pad_edge=True, header_style="dim")
    for heading in ("node", "", "interface", "addresses", "a shell in it"):
        table.add_column(heading, overflow="fold", no_wrap=heading != "addresses")
    for node in record.nodes:
        kind = next((kind.removesuffix("s") for kind in ("devices", "routers") if node in state[kind]), "")
        first = (node, kind)
        for interface, addresses in _interfaces(node, state) or [("", "")]:
            command = f"patchbay shell {node}{which}" if first[0] else ""
            table.add_row(*map(Text, (*first, interface, addresses, command)))
            first = ("", "")
    return table


def _interfaces(node: str, state: dict[str, Any]) -> list[tuple[str, str]]:
    """Interface names with their addresses."""
    return [
        (str(fields.get("name") or fields.get("interface") or fields.get("bridge")), _addresses(fields))
        for fields in _ports(node, state)
    ]


def _ports(node: str, state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if node in state["devices"]:
        yield from state["devices"][node]["interfaces"]
    elif node in state["routers"]:
        router = state["routers"][node]
        yield from (port for port in (router["uplink"], router["downstream"]) if port is not None)
    elif node == "ix":
        yield state["ix"]


def _addresses(fields: dict[str, Any]) -> str:
    return " ".join(fields[key] for key in ("ip", "ip_v6") if fields.get(key))
