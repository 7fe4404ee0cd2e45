"""What is told while binaries are fetched and built, and how the work is called off."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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


class Cancellation:
    """One word to all threads at work that they may stop, also to those that wait for somebody else."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], None]] = set()

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """Calls the work off."""
        with self._lock:
            self._event.set()
            for wake in self._wakers:
                wake()

    def wait(self, duration_s: float) -> bool:
        """Sleeps for that long, or until the work is called off: whether it was."""
        return self._event.wait(duration_s)

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Has `wake` called once, from another thread, if the work is called off inside the block, or was before."""
        with self._lock:
            self._wakers.add(wake)
            if self._event.is_set():
                wake()
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)


class Task:
    """One binary that is being made. Nothing is shown until something begins that takes time."""

    def __init__(self, name: str, progress: Progress, cancelled: Cancellation) -> None:
        self.name = name
        self._progress = progress
        self._cancelled = cancelled

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set

    def check(self) -> None:
        """Raises Cancelled when the work was called off."""
        if self._cancelled.is_set:
            raise Cancelled

    def pause(self, duration_s: float) -> None:
        """Sleeps. Raises Cancelled when the work is called off meanwhile."""
        if self._cancelled.wait(duration_s):
            raise Cancelled

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Raises Cancelled when the work was called off inside the block, out of which `wake` then helped."""
        with self._cancelled.waking(wake):
            try:
                yield
            except Exception:
                self.check()  # what failed because it was woken
                raise

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
