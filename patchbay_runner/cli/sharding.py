"""`--shard` and `--durations`: which of the loaded sims this machine takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from patchbay_runner.model.plan import Plan
from patchbay_runner.results.documents import ShardOfRun
from patchbay_runner.results.record import find_runs, read_manifest
from patchbay_runner.results.shards import Shard, SimKey, deal, digest, durations

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Part(msgspec.Struct, frozen=True):
    """The plans that this machine takes. `shard` is None when that is all of them."""

    plans: tuple[Plan, ...]
    shard: ShardOfRun | None = None


def shard_options(command: _Command) -> _Command:
    """Adds the options `shard` and `earlier_runs`."""
    add_durations = click.option(
        "--durations",
        "earlier_runs",
        type=click.Path(path_type=Path),
        metavar="RUN",
        multiple=True,
        help="An earlier run, or a directory with several: shards are balanced by how long its sims took; else they "
        "get equal numbers. Every shard has to be given the same.",
    )
    add_shard = click.option(
        "--shard",
        metavar="K/N",
        callback=_read_shard,
        help="Takes the K-th of N parts of the sims only; the same sims and durations always give the same parts.",
    )
    return add_shard(add_durations(command))


def take_part(plans: Sequence[Plan], shard: Shard | None, earlier_runs: Sequence[Path]) -> Part:
    """The part of `plans` that is asked for, in their order.

    Raises UsageError for durations without shards, InputError when an earlier run cannot be read.
    """
    if shard is None:
        if earlier_runs:
            raise click.UsageError("--durations balances shards: it goes with --shard K/N")
        return Part(tuple(plans))
    known_s = durations(read_manifest(run) for path in earlier_runs for run in find_runs(path))
    keys = [SimKey(plan.source, plan.name) for plan in plans]
    if earlier_runs and not known_s.keys() & set(keys):
        click.echo("warning: --durations knows none of these sims; shards get equal numbers", err=True)
    dealt = deal(keys, known_s, shard.total)
    mine = tuple(plan for plan, number in zip(plans, dealt, strict=True) if number == shard.index)
    if not mine:
        click.echo(f"warning: there are no more than {len(plans)} sims, so none is left for shard {shard}", err=True)
    return Part(mine, ShardOfRun(index=shard.index, total=shard.total, digest=digest(keys, dealt, shard.total)))


def _read_shard(_context: click.Context, _option: click.Parameter, text: str | None) -> Shard | None:
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text, re.ASCII)
    if found is None:
        raise click.BadParameter(f"{text!r} is no shard; expected K/N, such as 2/4")
    index, total = map(int, found.groups())
    if not total:
        raise click.BadParameter("nothing can be cut into 0 parts")
    if not 1 <= index <= total:
        raise click.BadParameter(f"there is no shard {text}; the first of {total} is 1/{total}")
    return Shard(index, total)
