"""The parent's side of one sandbox: reads what it reports, passes interruptions on, and judges how it ended."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Protocol

from patchbay_runner.cli.sandboxed import INTERRUPTED
from patchbay_runner.errors import HostError
from patchbay_runner.kernel.sandbox import Sandbox, SandboxExit
from patchbay_runner.model.plan import ON_FAILURE_LATE_S
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.messages import Event
from patchbay_runner.results.sim_state import SimState

# As large as an ordinary user may make it: a sandbox that reports much seldom has to wait for us.
PIPE_BYTES = 1 << 20

# The sandbox enforces its own deadlines and needs a moment to end after them. Past these it is stuck: kill it.
_FINISHED_GRACE_S = 5.0
_INTERRUPT_GRACE_S = 10.0
_TIMEOUT_GRACE_S = 10.0

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(slots=True)
class Interruption:
    """How often the user asked to stop: once is to end cleanly, twice is at once.

    `is_halted` stops what runs as the first request does, when it is not the user who asks.
    """

    count: int = 0
    is_halted: bool = False
    _listeners: set[Callable[[], None]] = field(default_factory=set)

    def listen_to_signals(self) -> None:
        """From here on the running loop turns Ctrl-C, SIGTERM and SIGHUP into requests to stop."""
        for signum in _heeded_signals():
            asyncio.get_running_loop().add_signal_handler(signum, self.request)

    def note_signals(self) -> None:
        """The same before there is a loop and when it is over: what is being written then is written to its end."""
        for signum in _heeded_signals():
            signal.signal(signum, lambda _signum, _frame: self.request())

    @property
    def is_stopping(self) -> bool:
        """Whether anybody asked."""
        return self.is_halted or self.count > 0

    def request(self) -> None:
        """The user asks to stop."""
        self.count += 1
        self._tell()

    def halt(self) -> None:
        """The run cannot go on: what runs is to end cleanly."""
        if not self.is_halted:
            self.is_halted = True
            self._tell()

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener()

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls `listener` at each request; returns what ends that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)


def _heeded_signals() -> list[signal.Signals]:
    """Under nohup SIGHUP is ignored, and is meant to be.

    SIGINT is ignored in a shell's background jobs too, but whoever sends one to a run on purpose wants it to stop.
    """
    return [signum for signum in _SIGNALS if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN]


class Watched(Protocol):
    """What becomes of a sim, told by its message stream and at its end."""

    @property
    def state(self) -> SimState: ...

    def feed(self, chunk: bytes) -> list[Event]:
        """Takes a piece of the message stream, cut anywhere; returns the events in it."""

    def end(self, failure: Failure | None) -> None:
        """The sandbox is gone. `failure` counts when the sandbox gave no verdict of its own."""


class Supervisor:
    """Watches one sandbox from its start to its end. `on_events` is told what happens in it."""

    def __init__(
        self, sandbox: Sandbox, pipe: int, record: Watched, interruption: Interruption, timeout_s: float | None
    ) -> None:
        self._sandbox = sandbox
        self._pipe = pipe
        self._record = record
        self._interruption = interruption
        self._timeout_s = timeout_s
        # What the steps of `on_failure` add to the deadlines below.
        self._late_s = ON_FAILURE_LATE_S if record.state.plan.on_failure else 0.0
        self._is_overdue = False
        self._overdue: asyncio.TimerHandle | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def watch(self, on_events: Callable[[list[Event]], None]) -> None:
        """Returns when nothing of the sandbox runs any more and its record is written.

        Raises HostError when the sandbox could not be made.
        """
        with ExitStack() as stack:
            stack.callback(self._sandbox.close)
            stack.callback(self._cancel_timers)
            stack.callback(self._interruption.subscribe(self._interrupt))
            if self._interruption.is_stopping:
                self._interrupt()
            if self._timeout_s is not None:
                self._expect_end(self._timeout_s)
            await self._read_until_end(on_events)
            ended = self._sandbox.wait(_FINISHED_GRACE_S)
            self._record.end(self._failure_of(ended))
        if isinstance(ended.error, HostError):
            raise ended.error

    def set_paused(self, is_paused: bool) -> None:
        """Notes whether the sim waits for people, who have all the time in the world. Then only its end is left."""
        if self._overdue is not None:
            self._overdue.cancel()
            if not is_paused:
                self._expect_end(0.0)

    def _expect_end(self, timeout_s: float) -> None:
        self._overdue = self._later(timeout_s + _TIMEOUT_GRACE_S + self._late_s, self._end_overdue)

    async def _read_until_end(self, on_events: Callable[[list[Event]], None]) -> None:
        end = self._sandbox.fileno()
        watched = [self._pipe, end]
        while await readable(*watched) != end:
            if not self._read(on_events):
                watched.remove(self._pipe)  # at its end it would be readable for ever
        self._sandbox.wait(_FINISHED_GRACE_S)
        while self._read(on_events):
            pass

    def _read(self, on_events: Callable[[list[Event]], None]) -> bool:
        """Takes what is there; False when that is nothing."""
        try:
            chunk = os.read(self._pipe, PIPE_BYTES)
        except BlockingIOError:
            return False
        was_finished = self._record.state.is_finished
        on_events(self._record.feed(chunk))
        if self._record.state.is_finished and not was_finished:
            self._later(_FINISHED_GRACE_S, self._sandbox.kill)
        return bool(chunk)

    def _interrupt(self) -> None:
        if self._interruption.count > 1:
            self._sandbox.kill()
            return
        self._sandbox.terminate()
        self._later(_INTERRUPT_GRACE_S + self._late_s, self._sandbox.kill)

    def _end_overdue(self) -> None:
        self._is_overdue = True
        self._sandbox.kill()

    def _later(self, delay_s: float, action: Callable[[], None]) -> asyncio.TimerHandle:
        timer = asyncio.get_running_loop().call_later(delay_s, action)
        self._timers.append(timer)
        return timer

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _failure_of(self, ended: SandboxExit) -> Failure:
        """Why a sandbox ended that gave no verdict."""
        if self._interruption.is_stopping:
            return INTERRUPTED
        if self._is_overdue:
            return Failure(phase="timeout", message=f"the sim took longer than {self._timeout_s:g} s")
        if isinstance(ended.error, HostError):
            return Failure(phase="host", message=str(ended.error))
        if ended.error:
            message, _, details = str(ended.error).partition("\n")
            return Failure(phase="internal", message=message, traceback=details)
        return Failure(phase="internal", message=f"the sandbox ended without a verdict ({ended})")


def make_pipe() -> tuple[int, int]:
    """A large pipe, both ends close-on-exec and the reading one non-blocking."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with suppress(PermissionError):  # the user's pipes hold as much as they may already; a small one works too
        fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader, writer


async def readable(*descriptors: int) -> int:
    """Waits until one of `descriptors` is readable, and returns it."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[int] = loop.create_future()

    def resolve(descriptor: int) -> None:
        if not ready.done():
            ready.set_result(descriptor)

    for descriptor in descriptors:
        loop.add_reader(descriptor, resolve, descriptor)
    try:
        return await ready
    finally:
        for descriptor in descriptors:
            loop.remove_reader(descriptor)
