"""The options of `run`, wherever the sims run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from patchbay_runner.cli.browser import bind_option
from patchbay_runner.cli.capturing import capture_options
from patchbay_runner.cli.exports import junit_option
from patchbay_runner.cli.parameters import SIM_PATH, duration_s, job_count
from patchbay_runner.cli.preparing import binary_options
from patchbay_runner.cli.selection import selection_options
from patchbay_runner.cli.sharding import shard_options

WORK_DIR = ".patchbay-work"
_MOST_ATTEMPTS = 100_000

_Command = TypeVar("_Command", bound=Callable[..., Any])


def run_options(command: _Command) -> _Command:
    """Adds the arguments SIMS and the options that say what runs, how, and what is kept of it."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.argument("sims", nargs=-1, type=SIM_PATH),
    click.option(
        "--work-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Where run directories are made; {WORK_DIR} by default.",
    ),
    click.option(
        "--timeout",
        "timeout_s",
        metavar="DURATION",
        callback=duration_s,
        help="Ends each sim that takes longer, inside steps too; such as 30m, 90s or 1.5s.",
    ),
    binary_options,
    click.option(
        "-j",
        "--jobs",
        metavar="N|auto",
        callback=job_count,
        help="How many sims run at once; as many as the processors carry by default. Those that measure run alone.",
    ),
    click.option(
        "--fail-fast/--keep-going",
        "is_failing_fast",
        help="Whether no sim begins any more once one has failed: those that run go on to their end, the others stay "
        "pending. All run by default.",
    ),
    click.option(
        "--repeat",
        type=click.IntRange(1, _MOST_ATTEMPTS),
        default=1,
        metavar="N",
        help="Runs each sim so many times; every attempt has a directory of its own, such as web-attempt-3.",
    ),
    selection_options,
    capture_options,
    click.option("-v", "--verbose", "is_verbose", is_flag=True, help="Shows every step and capture as it happens."),
    click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Prints what happens as JSON lines; what people read goes to standard error.",
    ),
    click.option(
        "--pause-on-failure",
        "is_pausing",
        is_flag=True,
        help="Leaves the network of a sim that failed up for `patchbay run-in`, until a key is pressed.",
    ),
    shard_options,
    junit_option,
    click.option("--open", "is_opening", is_flag=True, help="Shows the run in a browser, live, and then until Ctrl-C."),
    bind_option,
)
