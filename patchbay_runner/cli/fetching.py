"""What is shown while binaries are fetched and built: bars on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from patchbay_runner.binaries.progress import Progress
from patchbay_runner.cli.text import megabytes, printable


@contextmanager
def open_progress() -> Iterator[Progress]:
    """The display that fits standard error. It has ended, with its thread, when the block has."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
    if not is_terminal:
        yield PlainProgress()
        return
    from patchbay_runner.cli.bars import Bars  # noqa: PLC0415 - rich is slow to import, and has no use elsewhere

    bars = Bars()
    try:
        yield bars
    finally:
        bars.close()


class PlainProgress:
    """A line when something begins, a line when it is done."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def started(self, task: str, text: str, total: int | None, done: int) -> None:
        """Prints what begins."""
        size = f", {megabytes(total)}" if total is not None else ""
        resumed = f", going on at {megabytes(done)}" if done else ""
        self._print(f"{task}: {text}{size}{resumed}")

    def advanced(self, task: str, done: int) -> None:
        """Says nothing: a log has no use for it."""

    def said(self, task: str, line: str) -> None:
        """Says nothing."""

    def ended(self, task: str, text: str) -> None:
        """Prints what is done."""
        if text:
            self._print(f"{task}: {text}")

    def note(self, text: str) -> None:
        """Prints it as a warning."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        with self._lock:
            click.echo(printable(text), err=True)
