"""Network and UTS namespaces, held by file descriptor and entered by the single thread of the agent.

Every namespace is anonymous: it lives as long as a descriptor or a process holds it. The paths go through
/proc/thread-self because /proc/self shows the main thread's namespaces, whichever thread asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import syscalls


def own_namespace(kind: str) -> int:
    """A close-on-exec descriptor of the calling thread's own namespace, such as "net", "mnt" or "uts"."""
    path = f"/proc/thread-self/ns/{kind}"
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError(f"open {path}", error.errno or 0) from error


def new_network_namespace() -> int:
    """A descriptor of a fresh network namespace (loopback down); the caller stays where it is."""
    home = own_namespace("net")
    try:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        try:
            return own_namespace("net")
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


@contextmanager
def entered(fd: int) -> Iterator[None]:
    """Runs the body in network namespace `fd`. Synchronous code only: the whole thread is elsewhere meanwhile."""
    home = own_namespace("net")
    try:
        syscalls.setns(fd, syscalls.CLONE_NEWNET)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWNET)
    finally:
        os.close(home)


def new_uts_namespace(hostname: str) -> int:
    """A descriptor of a fresh UTS namespace named `hostname`; the caller stays where it is."""
    home = own_namespace("uts")
    try:
        syscalls.unshare(syscalls.CLONE_NEWUTS)
        try:
            syscalls.sethostname(hostname)
            return own_namespace("uts")
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWUTS)
    finally:
        os.close(home)


def namespace_id(fd: int) -> int:
    """The number that identifies the namespace behind `fd`, as in `net:[4026531840]`."""
    return os.fstat(fd).st_ino
