"""The options of `run` that say which packets are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click
import msgspec

from patchbay_runner.model.capture import LEAST_BYTES, MOST_BYTES, PacketCapture
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.sizes import EXPECTED, format_size, parse_size

Command = TypeVar("Command", bound=Callable[..., object])


def capture_options(command: Command) -> Command:
    """The options whose values `with_capture` takes."""
    size = click.option(
        "--capture-size",
        "capture_bytes",
        metavar="SIZE",
        callback=_size,
        help="Captures packets, and keeps so much of each interface at most, the newest, such as 16MB.",
    )
    switch = click.option(
        "--capture/--no-capture",
        "is_capturing",
        default=None,
        help="Whether every interface's packets are written to a pcapng file; as each sim says by default.",
    )
    return switch(size(command))


def with_capture(plans: Sequence[Plan], is_capturing: bool | None, max_bytes: int | None) -> tuple[Plan, ...]:
    """The plans, capturing what the command line says, where it says anything. Raises click.UsageError."""
    if is_capturing is False:
        if max_bytes is not None:
            raise click.UsageError("--no-capture leaves nothing for --capture-size to limit")
        return tuple(msgspec.structs.replace(plan, capture=None) for plan in plans)
    if not is_capturing and max_bytes is None:
        return tuple(plans)
    return tuple(msgspec.structs.replace(plan, capture=_asked(plan, max_bytes)) for plan in plans)


def _asked(plan: Plan, max_bytes: int | None) -> PacketCapture:
    capture = plan.capture or PacketCapture()
    return capture if max_bytes is None else msgspec.structs.replace(capture, max_bytes=max_bytes)


def _size(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        size = parse_size(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; expected {EXPECTED}") from error
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise click.BadParameter(f"{text!r} is not from {format_size(LEAST_BYTES)} to {format_size(MOST_BYTES)}")
    return size
