"""What `run-in` and `shell` share: a program of the caller's in a node of a network that is up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from patchbay_runner.cli.labs import connect_to, find_lab, refuse_unknown
from patchbay_runner.errors import CommandNotFound, LabError
from patchbay_runner.kernel.capabilities import STEP_CAPABILITIES
from patchbay_runner.kernel.entering import Place, Program, run_inside
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment

# As shells have it.
_EXIT_NOT_FOUND = 127
_SIGNAL_BASE = 128


def enter(node: str, wanted: str | None, argv: Sequence[str], added: Mapping[str, str] | None = None) -> int:
    """Runs a program in a node, on our terminal; returns the exit code that a shell would. Raises ClickException."""
    working_directory()
    lab = find_lab(node, wanted)
    connection = connect_to(lab)
    if connection is None:
        raise click.ClickException(f"{lab.id} has just ended")
    client = LabClient(connection)
    refuse_unknown(lab, node, client)
    place, of_node = client.enter(node)
    client.close()
    try:
        code = run_program(place, argv, {**of_node, **(added or {})})
    except LabError as error:
        raise LabError(f"cannot enter {lab.id}: {error}") from error
    if code > _SIGNAL_BASE and not _is_up(lab.id, wanted=node):
        click.echo(f"{lab.id} has ended", err=True)
    return code


def run_program(
    place: Place,
    argv: Sequence[str],
    added: Mapping[str, str],
    capabilities: tuple[int, ...] = STEP_CAPABILITIES,
) -> int:
    """Runs a program in namespaces, on our terminal, where we are; returns the exit code that a shell would.

    Takes the descriptors of `place`. Raises LabError, ClickException.
    """
    cwd = working_directory()
    env = {**program_environment(os.environ), **added}
    try:
        code = run_inside(place, Program(argv, env, cwd, capabilities))
    except CommandNotFound as error:
        click.echo(f"error: {error}", err=True)
        return _EXIT_NOT_FOUND
    return code if code >= 0 else _SIGNAL_BASE - code


def working_directory() -> str:
    """Where the caller is. Raises ClickException when that is gone."""
    try:
        return os.getcwd()  # noqa: PTH109 - Path.cwd() says the same in more words
    except FileNotFoundError as error:
        raise click.ClickException("the working directory is not there any more") from error


def _is_up(identifier: str, wanted: str) -> bool:
    try:
        find_lab(wanted, identifier)
    except click.ClickException:
        return False
    return True
