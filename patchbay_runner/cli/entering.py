"""What `run-in` and `shell` share: a program of the caller's in a node of a network that is up."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click

from patchbay_runner.cli.labs import connect_to, find_lab, refuse_unknown
from patchbay_runner.errors import CommandNotFound, LabError
from patchbay_runner.kernel.entering import Program, run_inside
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment

# As shells have it.
_EXIT_NOT_FOUND = 127
_SIGNAL_BASE = 128


def enter(node: str, wanted: str | None, argv: Sequence[str], added: Mapping[str, str] | None = None) -> int:
    """Runs a program in a node, on our terminal; returns the exit code that a shell would. Raises ClickException."""
    try:
        cwd = os.getcwd()  # noqa: PTH109 - Path.cwd() says the same in more words
    except FileNotFoundError as error:
        raise click.ClickException("the working directory is not there any more") from error
    lab = find_lab(node, wanted)
    connection = connect_to(lab)
    if connection is None:
        raise click.ClickException(f"{lab.id} has just ended")
    client = LabClient(connection)
    refuse_unknown(lab, node, client)
    place, of_node = client.enter(node)
    client.close()
    env = {**program_environment(os.environ), **of_node, **(added or {})}
    try:
        code = run_inside(place, Program(argv, env, cwd))
    except CommandNotFound as error:
        click.echo(f"error: {error}", err=True)
        return _EXIT_NOT_FOUND
    except LabError as error:
        raise LabError(f"cannot enter {lab.id}: {error}") from error
    if code < 0 and not _is_up(lab.id, wanted=node):
        click.echo(f"{lab.id} has ended", err=True)
    return code if code >= 0 else _SIGNAL_BASE - code


def _is_up(identifier: str, wanted: str) -> bool:
    try:
        find_lab(wanted, identifier)
    except click.ClickException:
        return False
    return True
