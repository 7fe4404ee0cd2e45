"""The options of every command that is about a machine."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from patchbay_runner.cli.parameters import duration_s
from patchbay_runner.loader.project import read_project
from patchbay_runner.model.vm import ACCELERATORS, DISK_GB, MEMORY_MB, PORTS, PROCESSORS, SHARINGS, MachineOptions
from patchbay_runner.vm.settings import Settings, from_environment, resolve

Command = Callable[..., Any]

_IDENTITY: tuple[Callable[[Command], Command], ...] = (
    click.option(
        "--project-root",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        default=Path(),
        help="The project, which the guest sees as /app; the current directory by default.",
    ),
    click.option(
        "--name", metavar="NAME", help="The machine's name, for projects with several; patchbay-vm by default."
    ),
)
_MAKING: tuple[Callable[[Command], Command], ...] = (
    click.option("--memory-mb", type=click.IntRange(*MEMORY_MB), metavar="MB", help="Memory; 4096 by default."),
    click.option("--cpus", "processors", type=click.IntRange(*PROCESSORS), metavar="N", help="Processors."),
    click.option("--disk-gb", type=click.IntRange(*DISK_GB), metavar="GB", help="The disk's size; 40 by default."),
    click.option(
        "--ssh-port",
        type=click.IntRange(*PORTS),
        metavar="PORT",
        help="The host's port for the guest's SSH; 2222 by default, or another where that is taken.",
    ),
    click.option("--image", metavar="FILE|URL", help="A disk image to start from, instead of Debian's."),
    click.option(
        "--accel", "accelerator", type=click.Choice(ACCELERATORS), help="The accelerator; one that works by default."
    ),
    click.option("--sharing", type=click.Choice(SHARINGS), help="How directories are shared; what works by default."),
    click.option("--target-dir", "target", metavar="DIRECTORY", help="What the guest sees as /target."),
    click.option("--work-dir", "work", metavar="DIRECTORY", help="What the guest sees as /work, and writes to."),
    click.option(
        "--boot-timeout",
        "boot_timeout_s",
        metavar="DURATION",
        callback=duration_s,
        help="How long the guest may take until it answers.",
    ),
)


def machine_options(command: Command) -> Command:
    """Adds what says which machine is meant and how it is made; the command gets `settings`."""
    return _with(command, (*_IDENTITY, *_MAKING))


def name_options(command: Command) -> Command:
    """Adds what says which machine is meant; the command gets `settings`."""
    return _with(command, _IDENTITY)


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    @functools.wraps(command)
    def read(*args: Any, project_root: Path, **given: Any) -> Any:
        fields = MachineOptions.__struct_fields__
        flags = MachineOptions(**{name: given.pop(name) for name in fields if name in given})
        return command(*args, settings=read_settings(project_root, flags), **given)

    wrapped: Command = read
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def read_settings(project_root: Path, flags: MachineOptions) -> Settings:
    """Flags, else the environment, else `patchbay.toml`. Raises InputError with everything that is wrong."""
    cwd = Path.cwd()
    project = read_project(project_root, cwd)
    configured = project.machine
    if project.work_dir is not None:
        configured = MachineOptions(work=str((cwd / project.work_dir).absolute())).over(configured)
    flags = MachineOptions(target=_from_here(flags.target, cwd), work=_from_here(flags.work, cwd)).over(flags)
    return resolve(flags.over(from_environment(os.environ)).over(configured), project_root, cwd)


def _from_here(path: str | None, cwd: Path) -> str | None:
    """Paths of the command line begin at the working directory, others at the project root."""
    return None if path is None else str(cwd / Path(path).expanduser())
