"""`patchbay cache`: how much the downloads and builds of sims take, and taking away what nobody has used for long."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import click

from patchbay_runner.binaries.cache import alone
from patchbay_runner.binaries.caller import acting_as, cache_root, caller
from patchbay_runner.binaries.cleaning import KINDS, REMAINS, USELESS_S, Kept, remove, survey, unused
from patchbay_runner.cli.text import counted
from patchbay_runner.errors import HostError
from patchbay_runner.model.sizes import EXPECTED, format_size, parse_size
from patchbay_runner.results.files import calling_user

_DAYS = 30
_DAY_S = 86_400.0


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected {EXPECTED}") from error


@click.command()
@click.option("--clean", "is_cleaning", is_flag=True, help=f"Removes what no run has used for {_DAYS} days.")
@click.option(
    "--unused-days",
    type=click.IntRange(min=0),
    metavar="N",
    help="With --clean: for so many days; 0 removes everything.",
)
@click.option(
    "--down-to",
    "most_bytes",
    metavar="SIZE",
    callback=_size,
    help="With --clean: removes the longest unused until what is left takes at most so much, such as 5GB. By itself it "
    "minds no age; with --unused-days, what is that old goes in any case.",
)
def cache(*, is_cleaning: bool, unused_days: int | None, most_bytes: int | None) -> None:
    """Shows how much the cache of downloads and builds takes, or cleans it."""
    if not is_cleaning and (unused_days is not None or most_bytes is not None):
        raise click.UsageError("--unused-days and --down-to say what --clean removes; without it nothing is")
    owner = calling_user(os.environ, os.geteuid())
    who = caller(os.environ, (owner.uid, owner.gid) if owner else None)
    root = cache_root(who, os.environ)
    try:
        with acting_as(who):
            if not root.is_dir():
                click.echo(f"{root} is not there: nothing has been downloaded or built")
            elif is_cleaning:
                _clean(root, unused_days, most_bytes)
            else:
                _show(root)
    except OSError as error:
        raise HostError(f"{error.filename or root}: {error.strerror}") from error


def _show(root: Path) -> None:
    things = survey(root)
    click.echo(str(root))
    for kind in KINDS:
        found = [thing for thing in things if thing.kind == kind]
        if found:
            click.echo(f"  {kind:<12} {len(found):>4}  {format_size(_sum(found)):>9}")
    old = _sum(unused(things, since_s=time.time() - _DAYS * _DAY_S))
    hint = f", {format_size(old)} of it unused for {_DAYS} days: patchbay cache --clean" if old else ""
    click.echo(f"{format_size(_sum(things))} in all{hint}")


def _clean(root: Path, unused_days: int | None, most_bytes: int | None) -> None:
    with alone(root, lambda: click.echo("a run uses the cache; waiting for its end", err=True)):
        things = survey(root)
        going = unused(things, since_s=_since_s(unused_days, most_bytes), most_bytes=most_bytes)
        remove(going)
    number = sum(thing.kind != REMAINS for thing in going)
    left = _sum(things) - _sum(going)
    click.echo(f"removed {counted(number, 'thing')}, {format_size(_sum(going))}; {format_size(left)} left")


def _since_s(unused_days: int | None, most_bytes: int | None) -> float:
    """What was not used since then goes: whatever its age where only a size is asked for, but for what is of no use."""
    if unused_days == 0:
        return math.inf
    if unused_days is None and most_bytes is not None:
        return USELESS_S + 1
    return time.time() - (_DAYS if unused_days is None else unused_days) * _DAY_S


def _sum(things: Sequence[Kept]) -> int:
    return sum(thing.size for thing in things)
