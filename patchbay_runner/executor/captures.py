"""The capture store: values as they arrive, and steps that wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from patchbay_runner.errors import CaptureMissing
from patchbay_runner.model.recording import HISTORY_LIMIT, CaptureValue


class Producer(Protocol):
    """A step whose program may still produce captures."""

    def missing(self, capture: str) -> CaptureMissing | None:
        """Why `capture` can no longer appear; None while it can."""

    def last_lines(self) -> tuple[str, ...]:
        """The end of its output, for messages."""


class _History:
    __slots__ = ("count", "values")

    def __init__(self) -> None:
        self.values: deque[str] = deque(maxlen=HISTORY_LIMIT)
        self.count = 0


class CaptureStore:
    """Values by capture key ("step.capture")."""

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}
        self._producers: dict[str, Producer] = {}
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}
        self._changed: set[str] = set()
        self._watchers: list[Callable[[], None]] = []

    def add_producer(self, step: str, producer: Producer) -> None:
        """Makes captures of `step` worth waiting for."""
        self._producers[step] = producer

    def record(self, key: str, values: Sequence[str]) -> None:
        """Adds values in order and wakes whoever waits for `key`."""
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = _History()
        if self._watchers:
            self._record_watched(history, values)
        else:
            history.values.extend(values)
            history.count += len(values)
        self._changed.add(key)
        self._wake(key)

    def _record_watched(self, history: _History, values: Sequence[str]) -> None:
        """One after the other, so that no value is missed."""
        for value in values:
            history.values.append(value)
            history.count += 1
            for watcher in tuple(self._watchers):
                watcher()

    @contextmanager
    def watching(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Calls `watcher`, which must not raise, after every value and when a step can produce no more."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def settle(self, step: str) -> None:
        """Fails the waits for captures that `step` can no longer produce; called when its output or it has ended."""
        for key in [key for key in self._waiters if _step_of(key) == step]:
            if self.missing(key) is not None:
                self._wake(key)
        for watcher in tuple(self._watchers):
            watcher()

    def _wake(self, key: str) -> None:
        for waiter in self._waiters.pop(key, ()):
            if not waiter.done():
                waiter.set_result(None)

    def latest(self, key: str) -> str | None:
        """The newest value; None when there is none yet."""
        history = self._histories.get(key)
        return history.values[-1] if history else None

    def value(self, key: str) -> CaptureValue:
        """Raises KeyError when nothing was recorded."""
        history = self._histories[key]
        return CaptureValue(history.values[-1], tuple(history.values), history.count)

    def count(self, key: str) -> int:
        """How many values were recorded."""
        history = self._histories.get(key)
        return history.count if history else 0

    async def wait(self, key: str, count: int = 1) -> str:
        """The newest value, waiting until there were `count`. Raises CaptureMissing once no more can appear."""
        while self.count(key) < count:
            missing = self.missing(key)
            if missing is not None:
                if self.count(key):
                    message = f"{key} was captured {self.count(key)} of {count} times: {missing}"
                    raise CaptureMissing(message, missing.output, may_be_lateness=missing.may_be_lateness)
                raise missing
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(key, []).append(waiter)
            await waiter
        return self._histories[key].values[-1]

    def last_lines(self, key: str) -> tuple[str, ...]:
        """The end of the output of the program that should produce `key`."""
        producer = self._producers.get(_step_of(key))
        return producer.last_lines() if producer else ()

    def take_changed(self) -> set[str]:
        """The keys that got values since the last call."""
        changed = self._changed
        self._changed = set()
        return changed

    def missing(self, key: str) -> CaptureMissing | None:
        """Why no more values of `key` can appear; None while they can."""
        producer = self._producers.get(_step_of(key))
        if producer is None:
            return CaptureMissing(f"{key} can never appear: no program of a step {_step_of(key)!r} has been started")
        return producer.missing(key.rpartition(".")[2])


def _step_of(key: str) -> str:
    return key.rpartition(".")[0]
