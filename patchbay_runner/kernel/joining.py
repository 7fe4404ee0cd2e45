"""Threads of a process that has capabilities over a node's namespaces, inside the node. See setns(2).

What a thread has entered, the threads and children that it starts are in too. Its working directory and mounts are its
own from then on (CLONE_FS).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.entering import Place
from patchbay_runner.kernel.namespaces import own_namespace


class View(msgspec.Struct, frozen=True):
    """A node as this process may see it, by descriptor: its network, its host name, and its mounts with our /proc."""

    net: int
    uts: int
    mnt: int

    def close(self) -> None:
        """Threads that are there stay."""
        for fd in (self.net, self.uts, self.mnt):
            os.close(fd)


def view_of(place: Place) -> View:
    """Takes the descriptors of `place`. Raises KernelError where the caller has no capabilities over them."""
    made: list[int | BaseException] = []

    def make() -> None:
        try:
            made.append(_mounts_with_own_proc(place.mnt))
        except BaseException as error:  # noqa: BLE001 - it is raised below, in the thread that asked
            made.append(error)

    # A thread for it alone: it comes back from nowhere.
    thread = threading.Thread(target=make, name="mounts of a node")
    thread.start()
    thread.join()
    for fd in (place.user, place.pid, place.ipc, place.mnt):
        os.close(fd)
    if isinstance(made[0], BaseException):
        os.close(place.net)
        os.close(place.uts)
        raise made[0]
    return View(place.net, place.uts, made[0])


def _mounts_with_own_proc(mnt: int) -> int:
    """The node's own /proc is that of the sandbox, where this process has no number."""
    syscalls.unshare(syscalls.CLONE_FS | syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_SLAVE | syscalls.MS_REC)
    proc = syscalls.open_tree("/proc")
    try:
        syscalls.setns(mnt, syscalls.CLONE_NEWNS)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.move_mount(proc, "/proc")
        return own_namespace("mnt")
    finally:
        os.close(proc)


def join(view: View) -> None:
    """Moves the calling thread into the node for good, and to the directory that it was in. Raises KernelError."""
    directory = Path.cwd()
    syscalls.unshare(syscalls.CLONE_FS)
    syscalls.setns(view.mnt, syscalls.CLONE_NEWNS)
    syscalls.setns(view.uts, syscalls.CLONE_NEWUTS)
    syscalls.setns(view.net, syscalls.CLONE_NEWNET)
    os.chdir(directory)
