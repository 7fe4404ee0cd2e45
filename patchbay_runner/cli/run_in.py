"""`patchbay run-in`: a program in a node of a network that is up."""

from __future__ import annotations

import click

from patchbay_runner.cli.entering import enter
from patchbay_runner.cli.labs import inspect_option


class _CommandBehindDashes(click.Command):
    """Everything behind `--` is the program's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Says what is missing when a program's options are taken for ours."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if "--" in args:
                raise
            raise click.UsageError(
                f"{error.message} Put -- before the program: run-in NODE -- PROGRAM …", ctx
            ) from error


@click.command("run-in", cls=_CommandBehindDashes)
@click.argument("node")
@inspect_option
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="-- PROGRAM [ARGUMENTS]…")
def run_in(node: str, *, wanted: str | None, program: tuple[str, ...]) -> int:
    """Runs PROGRAM in NODE of a network that is up, on this terminal, and ends with its exit code.

    The network is that of `patchbay inspect`, of a sim that `run --pause-on-failure` left up, or of one that runs.
    """
    if not program:
        raise click.UsageError(f"no program was given; `patchbay shell {node}` opens a shell")
    return enter(node, wanted, program)
