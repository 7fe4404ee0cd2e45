"""`patchbay completion`: the script that makes a shell complete command lines."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from patchbay_runner.cli.main import patchbay

SHELLS = ("bash", "zsh", "fish")
# What the scripts set when they ask for completions; click reads it.
_VARIABLE = "_PATCHBAY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Prints the script that completes commands, options and sims in SHELL."""
    found = get_completion_class(shell)
    assert found is not None
    complete = found(patchbay, {}, "patchbay", _VARIABLE)
    # Not source(), which starts a bash to see how old it is.
    click.echo(complete.source_template % complete.source_vars())
