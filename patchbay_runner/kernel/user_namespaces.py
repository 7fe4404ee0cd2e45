"""User namespaces in which the caller keeps a name, and holds capabilities over what is made there."""

from __future__ import annotations

import errno
import os

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import syscalls


def unshare_with_user(others: int, inner_uid: int, inner_gid: int) -> None:
    """Moves a process with one thread into a new user namespace, and others (CLONE_NEW*) that belong to it.

    The caller is `inner_uid` there; no other user has a number. See user_namespaces(7). Raises KernelError.
    """
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(others | syscalls.CLONE_NEWUSER)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{inner_uid} {uid} 1")
    _write("/proc/self/gid_map", f"{inner_gid} {gid} 1")


def _write(path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError(f"write {path}", error.errno or errno.EIO) from error
