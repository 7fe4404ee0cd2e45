"""`patchbay ctl`: the control protocol from a shell."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from patchbay_runner.cli.entering import run_program, working_directory
from patchbay_runner.cli.labs import connect_to, find_waiting_lab, inspect_option
from patchbay_runner.control import words
from patchbay_runner.control.caller import Answered, Caller
from patchbay_runner.control.methods import METHODS
from patchbay_runner.control.wire import SHARED, VARIABLE, Refusal
from patchbay_runner.errors import HostError, InputError, LabError
from patchbay_runner.kernel.entering import Place
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.topology import Origin

# Programs are run by us, on the terminal that we have.
_RUNNING = ("run", "run-in")
# A descriptor would end with us.
_HIDDEN = ("socket", "enter", "attach")
_EXIT_CODES = {"BadRequest": 2, "InputError": InputError.exit_code, "HostError": HostError.exit_code, "Defect": 3}


class _Methods(click.Command):
    """Lists what there is to ask for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The methods, each with its parameters."""
        rows = [
            (words.usage(method).removeprefix("patchbay ctl "), method.text.split(". ")[0].split(".\n")[0].rstrip("."))
            for method in METHODS.values()
            if method.name not in (*_HIDDEN, *_RUNNING)
        ]
        rows.append(("run NODE -- PROGRAM …", "Runs a program in a node, on this terminal"))
        with formatter.section("Methods"):
            formatter.write_dl(rows)


@click.command(cls=_Methods, context_settings={"allow_interspersed_args": False})
@click.option(
    "--lab",
    "lab",
    envvar="PATCHBAY_LAB",
    metavar="LAB",
    help=f"Which lab of `patchbay exec`: what create-lab printed, or {SHARED!r}; $PATCHBAY_LAB unless given.",
)
@inspect_option
@click.argument("request", nargs=-1, type=click.UNPROCESSED, metavar="METHOD [VALUE…] [KEY=VALUE…] [-- PROGRAM…]")
def ctl(request: tuple[str, ...], *, lab: str | None, wanted: str | None) -> int:
    """Looks at a lab and changes it.

    Inside `patchbay exec` it is the lab that all its programs share, elsewhere one that `patchbay inspect` holds.
    METHOD is one of the control protocol, with dashes for underscores; a VALUE is JSON or a text, and KEY may be a
    path such as impair.latency_ms.
    """
    if not request:
        raise click.UsageError("no method was given; patchbay ctl --help lists them")
    working_directory()  # which is that of programs
    path = os.environ.get(VARIABLE)
    try:
        if wanted is not None or path is None:
            if lab is not None and path is None:
                raise click.UsageError(f"--lab is for the inside of `patchbay exec`, which sets {VARIABLE}")
            return _by_agent(request, wanted)
        return _by_socket(path, lab or SHARED, request)
    except Refusal as error:
        raise click.ClickException(str(error)) from error
    except Answered as error:
        click.echo(f"error: {error}", err=True)
        return _EXIT_CODES.get(error.kind, 1)


def _by_socket(path: str, lab: str, request: Sequence[str]) -> int:
    with Caller(path) as caller:
        if request[0] in _RUNNING:
            node, program = _program(request)
            caller.ask("attach", {"lab": lab})
            entered, fds = caller.ask("enter", {"node": node})
            return run_program(Place(*fds), program, entered["env"])
        asked = words.read_words(request)
        if asked.method.name in _HIDDEN:
            raise click.UsageError(f"{request[0]} is for programs that go on, not for ctl")
        if asked.method.needs_lab or asked.method.name == "close_lab":
            caller.ask("attach", {"lab": lab})
        result, _ = caller.ask(asked.method.name, {**_here(asked), **asked.params})
        _show({"lab": result["lab"]} if asked.method.name == "create_lab" else result)
    return 0


def _here(asked: words.Asked) -> Mapping[str, Any]:
    """What a caller in a shell takes for granted."""
    if asked.method.name == "create_lab":
        file = asked.params.pop("file", None)
        return {"keep": True} | ({} if file is None else {"file": str(Path(file).absolute())})
    return {"cwd": str(Path.cwd())} if asked.program else {}


def _by_agent(request: Sequence[str], wanted: str | None) -> int:
    """The same with a lab whose agent listens itself, as far as an agent alone can."""
    asked = None if request[0] in _RUNNING else words.read_words(request)
    if asked is not None and asked.method.on_network is None:
        raise click.UsageError(f"{request[0]} is only there inside `patchbay exec`, which sets {VARIABLE}")
    client = _client(wanted)
    try:
        if asked is None:
            node, program = _program(request)
            place, env = client.enter(node)
            return run_program(place, program, env)
        assert asked.method.on_network is not None
        _show(asked.method.on_network(client, asked.method.read(asked.params), Origin("command line")))
    finally:
        client.close()
    return 0


def _client(wanted: str | None) -> LabClient:
    lab = find_waiting_lab(wanted, f"`patchbay exec -- COMMAND` gives COMMAND one to drive, by setting {VARIABLE}")
    connection = connect_to(lab)
    if connection is None:
        raise LabError(f"{lab.id} has just ended")
    return LabClient(connection)


def _program(request: Sequence[str]) -> tuple[str, Sequence[str]]:
    if len(request) < 4 or request[2] != "--":
        raise click.UsageError(f"how a program is run: patchbay ctl {request[0]} NODE -- PROGRAM …")
    return request[1], request[3:]


def _show(result: Any) -> None:
    """One value stands alone, so that a shell has it; everything else is JSON."""
    values = list(result.values()) if isinstance(result, dict) else [result]
    if len(values) == 1 and isinstance(values[0], str | int | float):
        click.echo(str(values[0]))
    elif values:
        text = msgspec.json.encode(result)
        click.echo((msgspec.json.format(text, indent=2) if sys.stdout.isatty() else text).decode())
