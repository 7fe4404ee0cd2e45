"""Options that are passed on to a command in the guest, as they were written."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import click

_META = "patchbay_runner.cli.vm.written"


class PassingCommand(click.Command):
    """A command that knows how its options were written, behind the checks that they have passed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses, and keeps what stood there."""
        ctx.meta[_META] = self.make_parser(ctx).parse_args(list(args))[0]
        return super().parse_args(ctx, args)


def written_options(ctx: click.Context, names: Collection[str]) -> list[str]:
    """The options of these parameters as arguments for a command that has the same."""
    said: dict[str, Any] = ctx.meta[_META]
    return [
        argument
        for param in ctx.command.params
        if isinstance(param, click.Option) and param.name in names and param.name in said
        for argument in _arguments(param, said[param.name])
    ]


def _arguments(option: click.Option, value: Any) -> Iterator[str]:
    name = max(option.opts, key=len)
    if option.is_flag:
        yield name if value else option.secondary_opts[0]
        return
    for each in value if option.multiple else (value,):
        yield f"{name}={each}"
