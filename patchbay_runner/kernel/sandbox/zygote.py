"""The parent's side of the zygote: a small process from which sandboxes are forked in milliseconds."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from patchbay_runner.errors import HostError, SandboxDied
from patchbay_runner.kernel.sandbox import diagnosis, messages
from patchbay_runner.kernel.sandbox.agent import Entry
from patchbay_runner.kernel.sandbox.handle import Sandbox
from patchbay_runner.kernel.sandbox.server import serve_forever

_DEFAULT_OPTIONS = messages.SandboxOptions()


class Zygote:
    """Forks sandboxes on request. Its end, or the parent's, ends them all. Safe to use from several threads."""

    def __init__(self, pid: int, channel: socket.socket, names: frozenset[str]) -> None:
        self.pid = pid
        self._channel = channel
        self._names = names
        self._lock = threading.Lock()

    @classmethod
    def start(cls, entries: Mapping[str, Entry]) -> Self:
        """Forks the zygote with everything imported so far. `entries` are what its sandboxes can run, by name.

        Raises HostError when this process has a second thread: a fork copies only the calling one, and the kernel
        ends the zygote with the thread that forked it.
        """
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - a count is all that is needed
            raise HostError("the zygote must be started before any thread", "start it first")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        parent = os.getpid()
        # Until the child has put its own dispositions in place, a handler of ours must not run in it.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                serve_forever(theirs, entries, parent)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        return cls(pid, ours, frozenset(entries))

    def sandbox(
        self,
        entry: str,
        payload: bytes = b"",
        fds: Sequence[int] = (),
        options: messages.SandboxOptions = _DEFAULT_OPTIONS,
    ) -> Sandbox:
        """Starts a sandbox that runs `entry` with copies of `payload` and `fds`; returns before it is set up.

        Raises KeyError for an unknown entry, ValueError for too many descriptors, HostError when no process can be
        made, SandboxDied when the zygote is gone.
        """
        if entry not in self._names:
            raise KeyError(entry)
        if len(fds) > messages.MAX_PASSED_FDS:
            raise ValueError(f"{len(fds)} descriptors; a sandbox takes {messages.MAX_PASSED_FDS}")
        control, control_inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        status, status_inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with control_inside, status_inside, os.fdopen(os.memfd_create("payload"), "wb", buffering=0) as file:
            try:
                file.write(payload)
                passed = (file.fileno(), control_inside.fileno(), status_inside.fileno(), *fds)
                pid, pidfd = self._ask(messages.Request(entry, options, len(fds)), passed)
            except BaseException:
                control.close()
                status.close()
                raise
        return Sandbox(pid, pidfd, control, status)

    def close(self) -> None:
        """Ends the zygote and with it every sandbox; returns when nothing of them runs any more."""
        with self._lock:
            if self._channel.fileno() < 0:
                return
            self._channel.close()
        os.waitpid(self.pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: messages.Request, fds: Sequence[int]) -> tuple[int, int]:
        with self._lock:
            if self._channel.fileno() < 0 or not messages.send(self._channel, request, fds):
                raise SandboxDied("the zygote has ended")
            reply, received = messages.receive(self._channel, messages.REPLY)
        match reply:
            case messages.Started(pid=pid):
                (pidfd,) = received
                return pid, pidfd
            case messages.Refused(reason=reason):
                raise SandboxDied(f"the zygote refused: {reason}")
            case messages.SetupFailed():
                raise diagnosis.host_error(reply)
        raise SandboxDied("the zygote has ended")
