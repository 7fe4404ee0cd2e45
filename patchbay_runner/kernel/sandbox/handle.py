"""The parent's side of one sandbox."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from patchbay_runner.errors import PatchbayError, SandboxDied
from patchbay_runner.kernel.sandbox import diagnosis, messages


@dataclass(frozen=True, slots=True)
class SandboxExit:
    """How a sandbox ended: with the agent's exit status, or by a signal, or neither.

    `error` is a HostError when it could not be made, SandboxDied when the entry raised or when something outside
    killed a process of ours. After a `terminate` or `kill` of our own the signal alone is set.
    """

    status: int | None = None
    signal: int | None = None
    error: PatchbayError | None = None


class Sandbox:
    """A running sandbox. `pid` is its outer process, `control` a SOCK_SEQPACKET socket to the agent."""

    def __init__(self, pid: int, pidfd: int, control: socket.socket, status: socket.socket) -> None:
        self.pid = pid
        self.control = control
        self._pidfd = pidfd
        self._status = status
        self._init_pidfd: int | None = None
        self._agent_pidfd: int | None = None
        self._ready = False
        self._killed = False
        self._reports: list[messages.Status] = []
        self._exit: SandboxExit | None = None

    def fileno(self) -> int:
        """Readable once the sandbox has ended: for `loop.add_reader`."""
        return self._pidfd

    def wait(self, timeout: float | None = None) -> SandboxExit:
        """Waits `timeout` seconds for the end, until nothing of the sandbox runs. Raises TimeoutError. Repeatable."""
        if self._exit is None:
            deadline = None if timeout is None else time.monotonic() + timeout
            _wait_readable(self._pidfd, deadline)
            # A killed outer process leaves init and the agent to the kernel, which is quick but not instant. Both hold
            # the other end of the status socket, and init's end is the end of everything inside.
            while self._read_reports():
                _wait_readable(self._status.fileno(), deadline)
            if self._init_pidfd is not None:
                _wait_readable(self._init_pidfd, deadline)
            self._exit = self._judge()
        return self._exit

    def wait_ready(self, timeout: float | None = None) -> None:
        """Waits until everything is set up and the entry is called. Raises what `wait` would report, TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ready:
            _wait_readable(self._status.fileno(), deadline)
            if not self._read_reports() and not self._ready:
                raise self.wait(timeout).error or SandboxDied("the sandbox ended before it was ready")

    def terminate(self) -> None:
        """Sends SIGTERM to the agent; a sandbox that is still being made is killed."""
        self._read_reports()
        if self._agent_pidfd is None:
            self.kill()
            return
        self._killed = True
        _send_signal(self._agent_pidfd, signal.SIGTERM)

    def kill(self) -> None:
        """Ends the sandbox at once and with it everything inside."""
        self._read_reports()
        self._killed = True
        _send_signal(self._pidfd if self._init_pidfd is None else self._init_pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Kills what still runs and lets go of the descriptors."""
        if self._pidfd < 0:
            return
        self.kill()
        self.wait()
        self.control.close()
        self._status.close()
        for fd in (self._pidfd, self._init_pidfd, self._agent_pidfd):
            if fd is not None:
                os.close(fd)
        self._pidfd = -1
        self._init_pidfd = self._agent_pidfd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_reports(self) -> bool:
        """Takes in the reports that are there; False once no more can come."""
        while True:
            try:
                report, fds = messages.receive(self._status, messages.STATUS, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            match report:
                case None:
                    return False
                case messages.InitStarted():
                    (self._init_pidfd,) = fds
                case messages.AgentReady():
                    (self._agent_pidfd,) = fds
                    self._ready = True
                case _:
                    self._reports.append(report)

    def _judge(self) -> SandboxExit:
        agent_status: int | None = None
        error: PatchbayError | None = None
        for report in self._reports:
            match report:
                case messages.SetupFailed():
                    return SandboxExit(error=diagnosis.host_error(report))
                case messages.AgentRaised(traceback=text):
                    error = SandboxDied(f"the agent raised an exception:\n{text}")
                case messages.AgentEnded(wait_status=wait_status):
                    agent_status = wait_status
        if agent_status is None:
            if not self._killed:
                error = SandboxDied("the sandbox was killed from outside, or by the kernel for want of memory")
            return SandboxExit(signal=signal.SIGKILL, error=error)
        code = os.waitstatus_to_exitcode(agent_status)
        if code >= 0:
            return SandboxExit(status=code, error=error)
        if not self._killed:
            error = SandboxDied(f"the agent was killed by {signal.Signals(-code).name}")
        return SandboxExit(signal=-code, error=error)


def _send_signal(pidfd: int, signum: int) -> None:
    with suppress(ProcessLookupError):  # it has ended already
        signal.pidfd_send_signal(pidfd, signum)


def _wait_readable(fd: int, deadline: float | None) -> None:
    remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    if not poller.poll(None if remaining is None else remaining * 1000):
        raise TimeoutError("the sandbox still runs")
