"""The `patchbay` command, and the one boundary that turns errors into messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from patchbay_runner import __version__
from patchbay_runner.cli.lazygroup import LazyGroup
from patchbay_runner.cli.session import Session
from patchbay_runner.errors import HostError, InputError, PatchbayError, SandboxRefused

EXIT_USAGE = 2
EXIT_DEFECT = 3
EXIT_INTERRUPTED = 130
# What a shell reports for a program that a closed pipe ended.
EXIT_BROKEN_PIPE = 141
_FULL = (errno.ENOSPC, errno.EDQUOT)

# Command to the module that holds it under the same name, with "_" for "-". They are imported when used: --version
# must be quick.
COMMANDS = {
    "init": "patchbay_runner.cli.init",
    "run": "patchbay_runner.cli.run",
    "inspect": "patchbay_runner.cli.inspect",
    "exec": "patchbay_runner.cli.exec",
    "ctl": "patchbay_runner.cli.ctl",
    "run-in": "patchbay_runner.cli.run_in",
    "shell": "patchbay_runner.cli.shell",
    "ps": "patchbay_runner.cli.ps",
    "plan": "patchbay_runner.cli.plan",
    "prepare": "patchbay_runner.cli.prepare",
    "cache": "patchbay_runner.cli.cache",
    "matrix": "patchbay_runner.cli.matrix",
    "merge": "patchbay_runner.cli.merge",
    "serve": "patchbay_runner.cli.serve",
    "push": "patchbay_runner.cli.push",
    "fmt-log": "patchbay_runner.cli.fmt_log",
    "schema": "patchbay_runner.cli.schema",
    "doctor": "patchbay_runner.cli.doctor",
    "completion": "patchbay_runner.cli.completion",
}
# Started by patchbay itself, and in no list of commands.
INNER_COMMANDS = {"_worker-run": "patchbay_runner.cli.worker_run"}

_ON_LINUX = ("run", "inspect", "run-in", "shell", "ps")


class PatchbayGroup(LazyGroup):
    """The commands of `patchbay`."""

    shown = COMMANDS
    inner = INNER_COMMANDS

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """`run --vm` is `patchbay-vm run`; what makes networks here is told where there can be none."""
        name, *rest = args
        own = rest[: rest.index("--")] if "--" in rest else rest
        if name == "run" and "--vm" in own:
            rest.remove("--vm")
            from patchbay_runner.cli.vm.run import run  # noqa: PLC0415 - seldom needed

            return name, run, rest
        if name in _ON_LINUX and sys.platform != "linux":
            raise HostError(
                "networks are made of Linux network namespaces", f"patchbay-vm {name}, in a virtual machine"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=PatchbayGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="patchbay %(version)s")
def patchbay() -> None:
    """Runs real programs on simulated networks, as TOML files say.

    Exit codes: 0 all sims passed, 1 a sim failed, 2 the command line or a file is wrong, 3 a defect of patchbay,
    4 this host cannot run labs, 5 this host was too busy for the network to be true, 130 interrupted.
    """


def main() -> NoReturn:
    """The entry point of the `patchbay` script."""
    _open_missing_streams()
    _end(run_command(sys.argv[1:]))


def serve() -> NoReturn:
    """The entry point of the `patchbay-serve` script."""
    _open_missing_streams()
    from patchbay_runner.cli.patchbay_serve import patchbay_serve  # noqa: PLC0415 - `patchbay` must be quick

    _end(run_command(sys.argv[1:], patchbay_serve))


def vm() -> NoReturn:
    """The entry point of the `patchbay-vm` script."""
    _open_missing_streams()
    from patchbay_runner.cli.vm.main import patchbay_vm  # noqa: PLC0415 - `patchbay` must be quick

    _end(run_command(sys.argv[1:], patchbay_vm))


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # the reader has gone: a pipe that is closed, a terminal that is no more
            stream.flush()
    # Everything is closed and written. Taking the interpreter apart as well would take 30 ms of every run.
    os._exit(code)


def _open_missing_streams() -> None:
    """A caller may have closed standard streams; the next file that we open would take their place and their output."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))  # the lowest free descriptor: its own


def run_command(arguments: Sequence[str], command: click.Command = patchbay) -> int:
    """Carries out a command line and returns its exit code. Errors have been shown by then."""
    session = Session()
    try:
        code = command.main(list(arguments), prog_name=command.name, standalone_mode=False, obj=session)
    except click.ClickException as error:
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except PatchbayError as error:
        _show_error(error)
        return error.exit_code
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the boundary: everything that nobody expected ends here
        return _show_unexpected(error, session)
    return code if isinstance(code, int) else 0


def _show_error(error: PatchbayError) -> None:
    """Problems of files stand one a line, as compilers write them; editors find their way by that."""
    if isinstance(error, InputError):
        from patchbay_runner.cli.exports import annotate  # noqa: PLC0415 - only CI services need it

        click.echo(f"{error}\nnothing was run", err=True)
        annotate(error.diagnostics, os.environ)
    elif isinstance(error, HostError) and error.remedy:
        click.echo(f"error: {error.problem}\n  try: {error.remedy}", err=True)
        if isinstance(error, SandboxRefused):
            click.echo("  or: patchbay run --vm, in a virtual machine", err=True)
    else:
        click.echo(f"error: {error}", err=True)


def _show_unexpected(error: Exception, session: Session) -> int:
    """A full disk below the output is the host's; whatever else nobody expected is ours."""
    if isinstance(error, OSError) and error.errno in _FULL:
        click.echo(f"error: cannot write: {error.strerror}", err=True)
        return HostError.exit_code
    _show_defect(error, session)
    return EXIT_DEFECT


def _show_defect(error: Exception, session: Session) -> None:
    text = "".join(traceback.format_exception(error))
    try:
        place = session.save_traceback(text)
    except (OSError, PatchbayError):
        place = None
    if place is None:
        with tempfile.NamedTemporaryFile("w", prefix="patchbay-", suffix=".traceback.txt", delete=False) as file:
            file.write(text)
        place = Path(file.name)
    click.echo(f"patchbay failed by a defect of its own: {type(error).__name__}: {error}; see {place}", err=True)
