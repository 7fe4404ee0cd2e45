"""What is told while binaries are fetched and built, and how the work is called off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Is told how tasks go, from several threads at once. A task is named by what it makes."""

    def started(self, task: str, text: str, total: int | None, done: int) -> None:
        """Something that takes time begins; sizes are bytes, and `total` None is not known."""

    def advanced(self, task: str, done: int) -> None:
        """So many bytes are there by now."""

    def said(self, task: str, line: str) -> None:
        """A tool printed a line."""

    def ended(self, task: str, text: str) -> None:
        """It is done, as `text` says; "" when it failed."""

    def note(self, text: str) -> None:
        """Something odd that the user should know."""


class Cancelled(Exception):
    """The work was called off: the user interrupted it, or another part of it failed for good."""


class Task:
    """One binary that is being made. Nothing is shown until something begins that takes time."""

    def __init__(self, name: str, progress: Progress, cancelled: threading.Event) -> None:
        self.name = name
        self._progress = progress
        self._cancelled = cancelled

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises Cancelled when the work was called off."""
        if self._cancelled.is_set():
            raise Cancelled

    def pause(self, duration_s: float) -> None:
        """Sleeps. Raises Cancelled when the work is called off meanwhile."""
        if self._cancelled.wait(duration_s):
            raise Cancelled

    @contextmanager
    def shown(self, text: str, done_text: str, total: int | None = None, done: int = 0) -> Iterator[None]:
        """Shows the block as work in progress."""
        self._progress.started(self.name, text, total, done)
        finished = ""
        try:
            yield
            finished = done_text
        finally:
            self._progress.ended(self.name, finished)

    def advanced(self, done: int) -> None:
        self._progress.advanced(self.name, done)

    def said(self, line: str) -> None:
        self._progress.said(self.name, line)

    def note(self, text: str) -> None:
        self._progress.note(f"{self.name}: {text}")
