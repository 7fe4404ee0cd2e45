"""Values of command-line options."""

from __future__ import annotations

import click

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
