"""Values of command-line options."""

from __future__ import annotations

import re
from pathlib import Path

import click
import click.shell_completion

from patchbay_runner.loader.project import MOST_JOBS, Jobs
from patchbay_runner.model.durations import EXPECTED, parse_duration


def duration_s(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """An option's callback: a duration as TOML files write it, as seconds above zero."""
    if text is None:
        return None
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected {EXPECTED}") from error
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} leaves no time at all")
    return seconds


def job_count(_context: click.Context, _option: click.Parameter, text: str | None) -> Jobs | None:
    """An option's callback: how many at once, or "auto"."""
    if text is None:
        return None
    if text == "auto":
        return "auto"
    if not re.fullmatch(r"0*[1-9][0-9]{0,3}", text) or int(text) > MOST_JOBS:
        raise click.BadParameter(f'{text!r} is neither "auto" nor a number from 1 to {MOST_JOBS}')
    return int(text)


class SimPath(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5 only
    """A sim file, a directory of sims or a glob. Shells complete sims, and the directories that lead to them."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Files that hold a sim, and directories with TOML files below; a lone directory stands for what is in it."""
        return [click.shell_completion.CompletionItem(found) for found in _sim_paths(incomplete)]


def _sim_paths(incomplete: str) -> list[str]:
    directory, _, beginning = incomplete.rpartition("/")
    prefix = incomplete[: len(incomplete) - len(beginning)]
    try:
        entries = sorted(Path(directory or ("/" if prefix else ".")).iterdir())
    except OSError:
        return []
    found = []
    for entry in entries:
        if not entry.name.startswith(beginning) or (entry.name.startswith(".") and not beginning.startswith(".")):
            continue
        if entry.is_dir():
            found.append(f"{prefix}{entry.name}/")
        elif entry.suffix == ".toml" and _holds_a_sim(entry):
            found.append(prefix + entry.name)
    if len(found) == 1 and found[0].endswith("/"):
        return _sim_paths(found[0]) or found
    return found


def _holds_a_sim(path: Path) -> bool:
    """By its headers alone: somebody waits for each keystroke."""
    try:
        return re.search(rb"^\s*(\[sim\]|\[\[step\]\])", path.read_bytes(), re.MULTILINE) is not None
    except OSError:
        return False


SIM_PATH = SimPath()
