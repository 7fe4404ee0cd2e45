"""The command line as click knows it: the commands, and the options of each."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from book.tables import table
from patchbay_runner.cli.main import COMMANDS, patchbay
from patchbay_runner.cli.patchbay_serve import patchbay_serve

SERVE = "patchbay-serve"

_OPTION = re.compile(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*|\[\[\w+\]\]|\[::\]:\d+|\[\.\.\.\]|(?<= )[*?](?=,| )")


def commands_table() -> str:
    """Every command, with what it takes and does, and where its page is."""
    rows = []
    for name in COMMANDS:
        found = command(name)
        usage = " ".join(["patchbay", name, *_arguments(found)])
        rows.append([f"[`{usage}`](../commands/{name}.md)", found.get_short_help_str(200)])
    return table(("command", "does"), rows)


def options_table(name: str) -> str:
    """The options of a command."""
    rows = [[_spelling(option), _default(option), _marked(option.help or "")] for option in options(name)]
    return table(("option", "default", "meaning"), rows)


def options(name: str) -> Iterator[click.Option]:
    """Those of a command that people use, but for `--help`."""
    for each in command(name).params:
        if isinstance(each, click.Option) and not each.hidden:
            yield each


def command(name: str) -> click.Command:
    """The command of that name. Raises KeyError where there is none."""
    if name == SERVE:
        return patchbay_serve
    found = patchbay.get_command(_group(), name)
    if found is None:
        raise KeyError(name)
    return found


def _group() -> click.Context:
    """That of `patchbay`, with its settings: commands remember how help is asked for."""
    return click.Context(patchbay, **patchbay.context_settings)


def _arguments(found: click.Command) -> list[str]:
    """What its usage says behind the options."""
    pieces = found.collect_usage_pieces(click.Context(found, info_name=found.name, parent=_group()))
    return [piece.replace("|", " or ") for piece in pieces if piece != "[OPTIONS]"]


def _spelling(option: click.Option) -> str:
    *others, last = [*option.opts, *option.secondary_opts]
    is_switch = option.is_flag or option.count
    # A bar would end the cell of a table, in code as well.
    value = "" if is_switch else " " + option.make_metavar(_group()).replace("|", " or ")
    return ", ".join([*(f"`{other}`" for other in others), f"`{last}{value}`"])


def _default(option: click.Option) -> str:
    is_told = option.show_default and isinstance(option.default, str | int)
    return f"`{option.default}`" if is_told else ""


def _marked(text: str) -> str:
    """Help as Markdown: what somebody types is code."""
    plain = " ".join(text.split())
    pieces = re.split(r"(`[^`]*`)", plain)
    return "".join(each if each.startswith("`") else _OPTION.sub(r"`\g<0>`", each) for each in pieces)
