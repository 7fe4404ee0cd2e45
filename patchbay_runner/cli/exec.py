"""`patchbay exec`: a command of any language in a fresh sandbox, where it makes labs over a control socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from patchbay_runner.cli.entering import run_program, working_directory
from patchbay_runner.cli.preparing import signals_interrupt
from patchbay_runner.cli.selection import chosen_plan
from patchbay_runner.control.labs import LabDefaults
from patchbay_runner.control.server import serve_control
from patchbay_runner.errors import LabError, PatchbayError, SandboxDied
from patchbay_runner.kernel.capabilities import LAB_CAPABILITIES
from patchbay_runner.kernel.entering import Place
from patchbay_runner.kernel.sandbox import Sandbox, Zygote
from patchbay_runner.lab import commands
from patchbay_runner.results.lab_record import Outcome

_ENTRY = "control"
# How long labs that are still up have to write the last words of their records.
_PATIENCE_S = 5.0
# Nodes have temporary directories of their own, the command has the caller's.
_KEPT = ("TMPDIR",)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option(
    "--topology",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A topology or sim file: the network that labs have from the start, unless they ask for another.",
)
@click.option(
    "--matrix",
    "axis_values",
    multiple=True,
    metavar="KEY=VALUE",
    help="Which variant of the sim, by the values of its matrix; repeat it until one is left.",
)
@click.option(
    "--outdir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keeps a record of every lab in DIR/<time>-<label>; $PATCHBAY_OUTDIR unless given.",
)
@click.option("--label", metavar="LABEL", help="What the records of labs are called that do not say so themselves.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[--] PROGRAM [ARGUMENTS]…")
def exec(
    program: tuple[str, ...],
    *,
    file: Path | None,
    axis_values: tuple[str, ...],
    outdir: Path | None,
    label: str | None,
) -> int:
    """Runs PROGRAM in a sandbox of its own, where it makes labs over the socket $PATCHBAY_CONTROL.

    It has this terminal, and its exit code is ours. When it ends, so does everything that it has started.
    """
    if not program:
        raise click.UsageError("no program was given: patchbay exec -- PROGRAM …")
    working_directory()  # everything needs it
    defaults = _defaults(file, axis_values, outdir, label)
    with ExitStack() as stack:
        zygote = stack.enter_context(Zygote.start({_ENTRY: serve_control}))
        stack.enter_context(signals_interrupt())
        sandbox = stack.enter_context(zygote.sandbox(_ENTRY, msgspec.json.encode(defaults)))
        place, added = _way_in(sandbox)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        code = run_program(place, program, {**kept, **added}, LAB_CAPABILITIES)
        _conclude(sandbox, "success" if code == 0 else "failed")
    return code


def _defaults(file: Path | None, axis_values: tuple[str, ...], outdir: Path | None, label: str | None) -> LabDefaults:
    if file is None and axis_values:
        raise click.UsageError("--matrix chooses a variant of --topology, which is not given")
    plan = None if file is None else chosen_plan(file, axis_values)
    given: dict[str, Any] = {} if plan is None else {"topology": plan.topology, "seed": plan.seed}
    return LabDefaults(label=label, outdir=None if outdir is None else str(outdir.absolute()), **given)


def _way_in(sandbox: Sandbox) -> tuple[Place, Mapping[str, str]]:
    """The sandbox's namespaces and what is added to the environment, once the socket listens. Raises HostError."""
    sandbox.wait_ready()
    try:
        reply, fds = commands.receive_reply(sandbox.control)
    except LabError:
        raise _end_of(sandbox) from None
    assert isinstance(reply, commands.Entered)
    return Place(*fds), reply.env


def _conclude(sandbox: Sandbox, outcome: Outcome) -> None:
    """Has the labs that are still up end. Raises what has ended the sandbox before the program did."""
    try:
        sandbox.control.send(outcome.encode())
    except OSError as error:
        raise _end_of(sandbox) from error
    with suppress(TimeoutError):
        ended = sandbox.wait(_PATIENCE_S)
        if ended.error is not None:
            raise ended.error


def _end_of(sandbox: Sandbox) -> PatchbayError:
    """Why a sandbox has ended by itself."""
    ended = sandbox.wait(_PATIENCE_S)
    return ended.error or SandboxDied(f"the sandbox ended by itself ({ended})")
