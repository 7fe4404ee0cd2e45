"""The agent's side: PID 2 prepares the sandbox from within and calls the entry."""

from __future__ import annotations

import os
import resource
import signal
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import capabilities, mounts, syscalls
from patchbay_runner.kernel.sandbox import messages

# Enough for a lab of thousands of nodes, should we be allowed to raise the hard limit to it.
_WANTED_OPEN_FILES = 65_536
_MAX_TRACEBACK_CHARACTERS = 16_000
STATUS_OF_EXCEPTION = 70  # EX_SOFTWARE of sysexits.h


@dataclass(frozen=True, slots=True)
class SandboxContext:
    """What an entry is given. It owns `fds` and `control`.

    `open_files` is the caller's RLIMIT_NOFILE (soft, hard), which programs should get back.
    """

    payload: bytes
    fds: tuple[int, ...]
    control: socket.socket
    options: messages.SandboxOptions
    open_files: tuple[int, int]


Entry = Callable[[SandboxContext], int]


@dataclass(frozen=True, slots=True)
class Job:
    """One sandbox to be: what the request said, with its descriptors."""

    entry: Entry
    options: messages.SandboxOptions
    payload: int
    control: socket.socket
    status: socket.socket
    fds: tuple[int, ...]

    def drop(self) -> None:
        """Closes everything of the job that this process does not need, all but the status."""
        self.control.close()
        messages.close_all((self.payload, *self.fds))


def run_agent(job: Job) -> NoReturn:
    """PID 2, from its fork to its end."""
    status = STATUS_OF_EXCEPTION
    try:
        context = _prepare(job)
        own = os.pidfd_open(os.getpid())
        messages.send(job.status, messages.AgentReady(), [own])
        os.close(own)
        status = job.entry(context)
    except SystemExit as exit_request:
        status = exit_request.code if isinstance(exit_request.code, int) else STATUS_OF_EXCEPTION
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, the parent must learn it
        text = traceback.format_exc()[-_MAX_TRACEBACK_CHARACTERS:]
        messages.send(job.status, messages.AgentRaised(text))
    finally:
        os._exit(status & 0xFF)


def _prepare(job: Job) -> SandboxContext:
    try:
        syscalls.sethostname(job.options.hostname)
        mounts.prepare_sandbox(job.options.hidden_below_run)
        open_files = _raise_open_files(job.options.open_files)
        capabilities.pass_to_programs()
    except (KernelError, OSError) as error:
        report_failure(job.status, error)
        os._exit(STATUS_OF_EXCEPTION)
    # A handler, not SIG_IGN, because programs inherit what is ignored but not what is handled.
    signal.signal(signal.SIGINT, _ignore)
    with os.fdopen(job.payload, "rb") as payload:
        payload.seek(0)
        content = payload.read()
    return SandboxContext(content, job.fds, job.control, job.options, open_files)


def report_failure(status: socket.socket, error: KernelError | OSError) -> None:
    """Tells the parent which operation was refused while the sandbox was made."""
    if isinstance(error, KernelError):
        messages.send(status, messages.SetupFailed(error.operation, error.errno))
        return
    path = "" if error.filename is None else f" {os.fsdecode(error.filename)}"
    messages.send(status, messages.SetupFailed(f"make the sandbox{path}", messages.errno_of(error)))


def _raise_open_files(wanted: int | None) -> tuple[int, int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
        return soft, hard
    try:
        higher = max(hard, _WANTED_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (higher, higher))
    except (PermissionError, ValueError):  # Python gives ValueError for the kernel's EPERM
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    pass
