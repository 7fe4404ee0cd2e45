"""What every command that runs something in a machine does first: a guest that is up, and patchbay in it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import click
import msgspec

from patchbay_runner.binaries.caller import cache_root, caller
from patchbay_runner.cli.vm.machines import machine_of, tell
from patchbay_runner.vm.environments import Packages
from patchbay_runner.vm.guest import Guest
from patchbay_runner.vm.installing import install
from patchbay_runner.vm.passing import passed_environment
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.versions import EXPECTED, OWN, Version, parse_version
from patchbay_runner.vm.wheels import wheel_of

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Inside(msgspec.Struct, frozen=True):
    """A guest with an environment of Python packages, at `environment`, whose programs are on PATH there."""

    guest: Guest
    environment: PurePosixPath

    def run(self, argv: Sequence[str], *, cwd: PurePosixPath, tty: bool, env: dict[str, str] | None = None) -> int:
        """Runs a program; its exit code."""
        path = f"{self.environment / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        passed, warnings = passed_environment(os.environ, self.guest.inside, Path.cwd())
        for warning in warnings:
            click.echo(f"warning: {warning}", err=True)
        program = str(self.environment / "bin" / argv[0])
        whole = {"PATH": path, **(env or {}), **passed}
        return self.guest.run([program, *argv[1:]], env=whole, cwd=str(cwd), tty=tty)


def version_option(command: _Command) -> _Command:
    """Adds the option `version`."""
    return click.option(
        "--patchbay-version",
        "version",
        metavar="VERSION",
        callback=_version,
        help=f"Which patchbay runs in the machine: {EXPECTED}; this one by default.",
    )(command)


def recreate_option(command: _Command) -> _Command:
    """Adds the option `is_recreating`."""
    return click.option("--recreate", "is_recreating", is_flag=True, help="Makes the machine anew first.")(command)


def name_option(command: _Command) -> _Command:
    """Adds the option `name`."""
    return click.option("--name", metavar="NAME", help="The machine's name, for projects with several.")(command)


def enter(settings: Settings, version: Version, packages: Packages | None = None, *, is_recreating: bool) -> Inside:
    """Starts the machine where it is not up, and sees that patchbay is in it, with other packages beside it."""
    more = packages or Packages(())
    with tempfile.TemporaryDirectory(prefix="patchbay-") as box:
        # Before the machine: it takes longer to start than a version takes not to be found.
        wheel = wheel_of(version, Path(box), tell)
        guest = machine_of(settings).up(recreate=is_recreating, report=tell)
        cache = cache_root(caller(os.environ, None), os.environ) / "environments"
        wanted = msgspec.structs.replace(more, wheels=(wheel, *more.wheels))
        return Inside(guest, install(guest, wanted, cache, tell))


def is_terminal() -> bool:
    """Whether a command in the guest can have a terminal that is this one."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _version(_context: click.Context, _option: click.Parameter, text: str | None) -> Version:
    try:
        return OWN if text is None else parse_version(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
