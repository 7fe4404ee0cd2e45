"""What `run` and `prepare` share: their options, and binaries that are ready before anything runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from patchbay_runner.binaries import Options, resolve
from patchbay_runner.binaries.commands import missing_commands
from patchbay_runner.binaries.overrides import EXPECTED, Override, parse_override
from patchbay_runner.cli.fetching import open_progress
from patchbay_runner.errors import InputError
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.files import calling_user

_THREADS = "/proc/self/task"
_LONGEST_EXIT_S = 10.0

F = TypeVar("F", bound=Callable[..., Any])


def _overrides(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> tuple[Override, ...]:
    try:
        return tuple(parse_override(text) for text in texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def binary_options(command: F) -> F:
    """`--binary`, `--no-build` and `--project-root`."""
    for option in (
        click.option(
            "--project-root",
            type=click.Path(path_type=Path, file_okay=False, exists=True),
            default=".",
            help="Where programs start and binaries are looked for; the working directory by default.",
        ),
        click.option(
            "--no-build",
            is_flag=True,
            help="Builds nothing: programs that were built before are used, [[prepare]] is passed over.",
        ),
        click.option(
            "--binary",
            "overrides",
            multiple=True,
            metavar="NAME:MODE:VALUE",
            callback=_overrides,
            help=f"Takes a binary from elsewhere than its sim says. {EXPECTED}.",
        ),
    ):
        command = option(command)
    return command


def declared_names(plans: Sequence[Plan]) -> frozenset[str]:
    """The names of all binaries."""
    return frozenset(binary.name for plan in plans for binary in plan.binaries)


def ready_binaries(
    plans: Sequence[Plan],
    project_root: Path,
    overrides: tuple[Override, ...],
    *,
    may_build: bool,
    declared: frozenset[str],
    is_run_here: bool = True,
) -> list[dict[str, str]]:
    """For each plan, binary name to path.

    `declared` holds what may be overridden, which is more than `plans` declare when they are a shard. Raises InputError
    for what cannot be had, and for commands not on PATH when the sims run on this machine.
    """
    # What else is here serves hosts too that have no labs.
    from patchbay_runner.lab.environment import program_environment  # noqa: PLC0415

    missing = is_run_here and missing_commands(plans, program_environment(os.environ)["PATH"])
    if missing:
        raise InputError(missing)
    owner = calling_user(os.environ, os.geteuid())
    options = Options(
        project_root=project_root.resolve(),
        environment=os.environ,
        cwd=Path.cwd(),
        overrides=overrides,
        declared=declared,
        may_build=may_build,
        user=(owner.uid, owner.gid) if owner else None,
    )
    with _without_trace_of_threads(), signals_interrupt(), open_progress() as progress:
        return resolve(plans, options, progress)


@contextmanager
def _without_trace_of_threads() -> Iterator[None]:
    """Waits until the kernel has ended the block's threads, which is a little after Python has joined them.

    The zygote, which is forked next, must be forked from a process with one thread.
    """
    before = set(os.listdir(_THREADS))  # noqa: PTH208 - names are all that is needed
    try:
        yield
    finally:
        deadline_s = time.monotonic() + _LONGEST_EXIT_S
        while set(os.listdir(_THREADS)) - before and time.monotonic() < deadline_s:  # noqa: PTH208
            time.sleep(0.001)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP count as Ctrl-C: what is being built is ended, not left behind. nohup is respected."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signals = [signum for signum in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(signum) != signal.SIG_IGN]
    before = {signum: signal.signal(signum, interrupt) for signum in signals}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
