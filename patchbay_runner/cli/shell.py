"""`patchbay shell`: the user's shell in a node of a network that is up, its prompt saying where."""

from __future__ import annotations

import os
import pwd
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from patchbay_runner.cli.entering import enter
from patchbay_runner.cli.labs import inspect_option

_PLAIN = "/bin/sh"


@click.command()
@click.argument("node")
@inspect_option
def shell(node: str, *, wanted: str | None) -> int:
    """Opens your shell in NODE of a network that is up."""
    program = os.environ.get("SHELL") or _login_shell()
    settings = os.memfd_create("settings", 0)  # not close-on-exec: the shell reads it
    os.write(settings, bash_settings(node, settings).encode())
    argv, added = shell_command(program, node, settings)
    if "--rcfile" not in argv:
        os.close(settings)
    return enter(node, wanted, argv, added)


def _login_shell() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_shell or _PLAIN
    except KeyError:
        return _PLAIN


def shell_command(program: str, node: str, settings: int) -> tuple[Sequence[str], Mapping[str, str]]:
    """How a shell is started so that its prompt begins with the node, and what is added to its environment.

    `settings` is the descriptor of what `bash_settings` says.
    """
    added = {"PATCHBAY_NODE": node, "SHELL": program}
    match Path(program).name:
        case "bash":
            return [program, "--rcfile", f"/dev/fd/{settings}"], added
        case "fish":
            renamed = "functions -q fish_prompt; and functions -c fish_prompt __patchbay_prompt"
            told = f"function fish_prompt; printf %s {shlex.quote(_sign(node))}; __patchbay_prompt; end"
            return [program, "--init-command", f"{renamed}; {told}"], added
    return [program], {**added, "PS1": f"{_sign(node)}$ "}


def bash_settings(node: str, fd: int) -> str:
    """What bash reads instead of ~/.bashrc: that, the prompt, and then nothing holds this file any more."""
    return f'[ -r ~/.bashrc ] && . ~/.bashrc\nPS1={shlex.quote(_sign(node))}"$PS1"\nexec {fd}<&-\n'


def _sign(node: str) -> str:
    return f"({node}) "
