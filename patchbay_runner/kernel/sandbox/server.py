"""The zygote's own process: one thread that forks sandboxes and collects them."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import NoReturn

import msgspec

from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.sandbox import messages
from patchbay_runner.kernel.sandbox.agent import Entry, Job
from patchbay_runner.kernel.sandbox.outer import run_outer

_OWN_FDS = 3  # payload, control, status come first in a request

# CPython ignores these for its own sake (write errors become exceptions), and programs get the default back.
_KEPT_SIGNALS = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT}


def serve_forever(channel: socket.socket, entries: Mapping[str, Entry], parent_pid: int | None) -> NoReturn:
    """The zygote, from its fork to its end, which comes with the parent's.

    `parent_pid` None is for a zygote whose parent has threads: the kernel would end it with the thread that made it,
    so that its end comes with the end of the channel alone.
    """
    try:
        _detach(channel)
        if parent_pid is not None:
            syscalls.set_parent_death_signal(signal.SIGKILL)
        if parent_pid in (None, os.getppid()):
            # Objects that are alive now stay alive: keep the collector, and so copies of pages, away from them.
            gc.collect()
            gc.freeze()
            _Server(channel, entries).run()
    finally:
        os._exit(0)


def _detach(channel: socket.socket) -> None:
    """Leaves behind what the fork has copied from the parent: session, signal handlers, descriptors."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent answers Ctrl-C
    for signum in signal.valid_signals() - _KEPT_SIGNALS:
        if signal.getsignal(signum) != signal.SIG_DFL:
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Covered, not closed: a forgotten object of the parent that closes its number later must not hit one of ours.
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are all that is needed
        if int(name) not in (2, null, channel.fileno()):
            _cover(null, int(name))
    os.close(null)


def _cover(null: int, fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError:
        return  # the descriptor that listed the directory
    os.dup2(null, fd, inheritable=fd < 3)


class _Server:
    """The loop. `children` are the outer processes by pidfd."""

    def __init__(self, channel: socket.socket, entries: Mapping[str, Entry]) -> None:
        self.channel = channel
        self.entries = entries
        self.children: dict[int, int] = {}
        self.lifeline, self.lifeline_held = os.pipe()
        self.pid = os.getpid()

    def run(self) -> None:
        """Serves until the parent closes its end, then ends every sandbox."""
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        while True:
            for fd, _ in poller.poll():
                if fd != self.channel.fileno():
                    poller.unregister(fd)
                    self._collect(fd)
                elif (pidfd := self._serve()) is not None:
                    poller.register(pidfd, select.POLLIN)
                elif self.channel.fileno() < 0:
                    self._end_all()
                    return

    def _serve(self) -> int | None:
        """Answers one request; the new child's pidfd. Closes the channel at its end."""
        try:
            request, fds = messages.receive(self.channel, messages.REQUEST)
        except msgspec.MsgspecError as error:
            messages.send(self.channel, messages.Refused(str(error)))
            return None
        if request is None:
            self.channel.close()
            return None
        if request.entry not in self.entries or len(fds) != _OWN_FDS + request.descriptors:
            # The kernel drops descriptors that do not fit below our limit of open files.
            messages.close_all(fds)
            reason = f"unknown entry {request.entry!r}, or only {len(fds)} descriptors arrived"
            messages.send(self.channel, messages.Refused(reason))
            return None
        return self._fork(request, fds)

    def _fork(self, request: messages.Request, fds: list[int]) -> int | None:
        payload, control, status, *own = fds
        job = Job(
            self.entries[request.entry],
            request.options,
            payload,
            socket.socket(fileno=control),
            socket.socket(fileno=status),
            tuple(own),
        )
        try:
            pid = os.fork()
        except OSError as error:
            messages.send(self.channel, messages.SetupFailed("fork", messages.errno_of(error)))
            pid = -1
        if pid == 0:
            self._become_outer(job)
        job.drop()
        job.status.close()
        if pid < 0:
            return None
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = pid
        messages.send(self.channel, messages.Started(pid), [pidfd])
        return pidfd

    def _become_outer(self, job: Job) -> NoReturn:
        self.channel.close()
        messages.close_all((self.lifeline_held, *self.children))
        run_outer(job, self.pid, self.lifeline)

    def _collect(self, pidfd: int) -> None:
        os.waitpid(self.children.pop(pidfd), 0)
        os.close(pidfd)

    def _end_all(self) -> None:
        """Letting go of the lifeline makes every outer process end its sandbox and report it."""
        os.close(self.lifeline_held)
        for pidfd in list(self.children):
            self._collect(pidfd)
