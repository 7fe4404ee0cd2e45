"""This process inside its labs: after `enter` it holds capabilities over the networks of every lab that it makes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from patchbay_runner.errors import HostError, KernelError
from patchbay_runner.kernel import capabilities, syscalls
from patchbay_runner.kernel.sandbox import diagnosis
from patchbay_runner.kernel.sandbox.messages import SetupFailed
from patchbay_runner.kernel.user_namespaces import unshare_with_user

_INSTEAD = (
    "call it at the top of the program, or in conftest.py; `node.network()` and functions in worker processes "
    "need no entering"
)

_entered = threading.Event()


def enter() -> None:
    """Has functions and coroutines in the nodes of labs run in this process, in threads of it, without copies.

    An ordinary user's process moves into a user namespace of its own, under its own name: files of other users are
    nobody's there, and setuid programs have no effect. Programs that it starts are in it too, pytest-xdist's workers
    among them. Labs that are there already stay as they are. Calling it again does nothing.

    Raises HostError when this process has threads already, unless it is root's, and where this machine cannot run labs.

    Examples:
        >>> import os
        >>> import patchbay_runner
        >>> patchbay_runner.enter()
        >>> with patchbay_runner.Lab() as lab:
        ...     laptop = lab.add_device("laptop", lab.add_router("home"))
        ...     laptop.run_sync(os.getpid) == os.getpid()
        True
    """
    if not capabilities.is_capable():
        _check_threads()
        _try()
        unshare_with_user(0, os.geteuid(), os.getegid())
        capabilities.keep_for_children(capabilities.LAB_CAPABILITIES)
    _entered.set()


def has_entered() -> bool:
    """Whether labs that are made from now on can be entered by threads of this process."""
    return _entered.is_set()


def _check_threads() -> None:
    """The kernel moves no process that has a second thread."""
    own = threading.get_native_id()
    others = [task for task in Path("/proc/self/task").iterdir() if int(task.name) != own]
    if others:
        names = ", ".join(sorted((task / "comm").read_text().strip() for task in others))
        raise HostError(f"a process enters before its first thread; this one has {len(others)} more: {names}", _INSTEAD)


def _try() -> None:
    """Does it in a child first: half done, it could not be taken back. Raises HostError."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            unshare_with_user(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWNS, os.geteuid(), os.getegid())
            syscalls.mount("", "/", "", syscalls.MS_SLAVE | syscalls.MS_REC)
            status = 0
        except KernelError as error:
            os.write(writer, f"{error.errno} {error.operation}".encode())
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read().decode()
    _, wait_status = os.waitpid(pid, 0)
    if told:
        number, _, operation = told.partition(" ")
        raise diagnosis.host_error(SetupFailed(operation, int(number)))
    if wait_status != 0:
        raise HostError("a process that tried to enter a user namespace was killed")
