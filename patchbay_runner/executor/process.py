"""One started program: from its start to its exit, its output and its captures."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from patchbay_runner.errors import CaptureMissing, StepError
from patchbay_runner.executor.output import Output
from patchbay_runner.model.steps import ExpectedExit, ProcessStep, Stream
from patchbay_runner.parsers import DocumentError, Values, document_captures, parse_document

# How long a pipe that a child of an ended program still holds is waited for before the step goes on without it.
_LINGER_S = 0.1
_TAIL_LINES = 20
_TAIL_BYTES = 32 * 1024
# A larger document is not decoded: it would take several times its size in memory.
_DOCUMENT_BYTES = 512 * 1024 * 1024
# From here on a shell says that it could not start a program, or that a signal ended it.
_SHELLS_OWN_CODES = 126


class Observer(Protocol):
    """Whom a process tells about itself."""

    def captured(self, process: Process, values: Values) -> None:
        """Values were found in its output."""

    def ended(self, process: Process) -> None:
        """It has exited and what it wrote has been seen."""

    def output_ended(self, process: Process) -> None:
        """It, or the last that held it, closed a pipe that captures read."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One output stream: how it is read, the file it ends up in, and how long that file was before."""

    output: Output
    path: Path
    start: int

    def read(self, limit: int) -> bytes:
        """The last `limit` bytes that the program wrote; none when it removed the file."""
        if not self.path.exists():
            return b""
        with self.path.open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            # The program may have truncated the file itself.
            start = self.start if self.start <= size else 0
            file.seek(max(start, size - limit))
            return file.readall()


def abandon(channels: Mapping[Stream, Channel]) -> None:
    """Gives up outputs that no program was started with."""
    for channel in channels.values():
        channel.output.abandon()


class Process:
    """A program that runs or ran.

    `exit_code` is None while it runs and negative for a signal, as in the subprocess module.
    """

    def __init__(
        self,
        step: ProcessStep,
        *,
        device: str,
        pid: int,
        channels: Mapping[Stream, Channel],
        observer: Observer,
    ) -> None:
        self.step = step
        self.device = device
        self.pid = pid
        self.channels = channels
        self.exit_code: int | None = None
        self.elapsed_s = 0.0
        self.finished = asyncio.Event()
        self.document_error: StepError | None = None
        # Its end was asked for, so that how it ended is no failure.
        self.is_stopped = False
        self._observer = observer
        self._started_s = time.monotonic()
        self._is_draining = False
        # Streams that were closed while the program lived on.
        self._closed: set[Stream] = set()
        self._group_is_gone = False
        self._loop = asyncio.get_running_loop()
        self._pidfd = os.pidfd_open(pid)
        self._loop.add_reader(self._pidfd, self._exited)
        for channel in channels.values():
            channel.output.started(self)

    def check_exit(self, expected: ExpectedExit | None) -> None:
        """Raises StepError unless the program ended as expected (None is code 0) and its document parsed."""
        assert self.exit_code is not None
        if expected != "any" and self.exit_code != (expected or 0):
            wanted = "" if expected is None else f", not with code {expected}"
            raise self.ended(wanted)
        if self.document_error is not None:
            raise self.document_error

    def ended(self, more: str) -> StepError:
        """The error of a program that should not have ended so."""
        message = f"{self.step.id} {describe_exit(self.exit_code or 0)}{more}"
        return StepError(message, self.last_lines(), may_be_lateness=self._may_be_lateness())

    def _may_be_lateness(self) -> bool:
        """Frames that are late can make a program give up; they do not crash it, nor take it away."""
        return 0 <= (self.exit_code or 0) < _SHELLS_OWN_CODES

    def age_s(self) -> float:
        """How long ago it was started."""
        return time.monotonic() - self._started_s

    def missing(self, capture: str) -> CaptureMissing | None:
        """Why `capture` can no longer appear; None while it can."""
        if capture in ("exit_code", "elapsed_s"):
            return None
        spec = next((spec for spec in self.step.captures if spec.name == capture), None)
        if spec is None:
            return CaptureMissing(f"{self.step.id} has no capture {capture!r}")
        if not self.finished.is_set():
            is_streamed = self.step.parser != "json" or spec.regex is not None
            if spec.pipe not in self._closed or not is_streamed:
                return None
            message = f"{self.step.id} closed its {spec.pipe} without {capture}"
            return CaptureMissing(message, self.last_lines(), may_be_lateness=True)
        if self.exit_code == 0 and self.channels[spec.pipe].output.is_open:
            # A daemon: the program that was started is gone, and a child of it goes on writing.
            return None
        reason = f"; {self.document_error}" if self.document_error else ""
        message = f"{self.step.id} {describe_exit(self.exit_code or 0)} without {capture}{reason}"
        return CaptureMissing(message, self.last_lines(), may_be_lateness=self._may_be_lateness())

    def last_lines(self) -> tuple[str, ...]:
        """The last lines of standard error, or of standard output when there are none."""
        for stream in ("stderr", "stdout"):
            text = self.channels[stream].read(_TAIL_BYTES).decode("utf-8", "replace")
            lines = text.rstrip().splitlines()
            if lines:
                return tuple(lines[-_TAIL_LINES:])
        return ()

    def signal_program(self, number: int) -> None:
        """Signals the program alone; one that has ended does not mind."""
        if self.exit_code is None:
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """Signals the program and every child that stayed in its process group."""
        if not self._group_is_gone:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                self._group_is_gone = True

    def group_is_alive(self) -> bool:
        """True while anything of its process group runs, or its exit has not been seen."""
        if self.exit_code is None:
            return True
        if not self._group_is_gone:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                self._group_is_gone = True
        return not self._group_is_gone

    def poll_output(self) -> None:
        """Passes on what the program has written to its files by now."""
        for channel in self.channels.values():
            channel.output.poll()

    def close(self) -> None:
        """Lets go of the outputs, also of those that a child still holds; what is in them is still read."""
        for channel in self.channels.values():
            channel.output.close()
        if self.exit_code is not None:
            # A child that holds a pipe keeps an exit from being told for a moment; there is no such moment left.
            self._finish()

    def captured(self, values: Values) -> None:
        self._observer.captured(self, values)

    def stream_ended(self) -> None:
        if self._is_draining:
            return
        if self.exit_code is not None and not self.finished.is_set():
            if not self._has_open_output():
                self._finish()
        elif self.finished.is_set():
            self._observer.output_ended(self)
        else:
            # A program that dies closes its pipes a moment before its exit can be seen.
            self._loop.call_later(_LINGER_S, self._closed_alive)

    def _closed_alive(self) -> None:
        if self.exit_code is None:
            self._closed = {stream for stream, channel in self.channels.items() if not channel.output.is_open}
            self._observer.output_ended(self)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.elapsed_s = time.monotonic() - self._started_s
        self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        # Asked now, while the number cannot have been given to another process yet.
        self.group_is_alive()
        self._is_draining = True
        for channel in self.channels.values():
            channel.output.drain()
        self._is_draining = False
        if self._has_open_output():
            self._loop.call_later(_LINGER_S, self._finish)
        else:
            self._finish()

    def _has_open_output(self) -> bool:
        return any(channel.output.is_open for channel in self.channels.values())

    def _finish(self) -> None:
        if self.finished.is_set():
            return
        if self.step.parser == "json":
            for stream, channel in self.channels.items():
                self._read_document(stream, channel)
        self.finished.set()
        self._observer.ended(self)

    def _read_document(self, stream: Stream, channel: Channel) -> None:
        captures = document_captures(self.step.captures, stream)
        if not captures:
            return
        data = channel.read(_DOCUMENT_BYTES + 1)
        if len(data) > _DOCUMENT_BYTES:
            self.document_error = StepError(f"{stream} of {self.step.id} is larger than {_DOCUMENT_BYTES} bytes")
            return
        if self.exit_code != 0 and not data.strip():
            return  # it failed, as its step may expect, and said nothing
        try:
            values = parse_document(data, captures)
        except DocumentError as error:
            self.document_error = StepError(f"{stream} of {self.step.id} is {error}", (error.text, *self.last_lines()))
            return
        if values:
            self._observer.captured(self, values)


def describe_exit(exit_code: int) -> str:
    """How a program ended, as part of a sentence."""
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = "a real-time signal"
    return f"was ended by signal {-exit_code} ({name})"
