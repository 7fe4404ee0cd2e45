"""Why this host refused something, and what helps. Pure but for reading the kernel's settings."""

from __future__ import annotations

import errno
import os

from patchbay_runner.errors import HostError, KernelError, SandboxRefused
from patchbay_runner.kernel.remedies import ReadSetting, of_namespace_limit, of_refused_namespaces, read_setting
from patchbay_runner.kernel.sandbox.messages import SetupFailed

# Start of the operation, error numbers, remedy; the first that fits.
_REMEDIES = (
    (
        "unshare",
        (errno.EINVAL,),
        "the kernel is built without one of the user, PID, mount, IPC, UTS and network namespaces",
    ),
    (
        "mount on /",
        (errno.EINVAL,),
        "the root directory is a chroot and not a mount: enter it with pivot_root, or bind-mount it onto itself",
    ),
    ("", (errno.ENOSYS,), "a kernel of version 5.3 or newer is needed"),
    ("", (errno.EAGAIN, errno.ENOMEM), "the host is out of processes or memory: see `ulimit -u` and `free -m`"),
    (
        "",
        (errno.EMFILE, errno.ENFILE),
        "a lab takes some three open files a node and two a running program: raise `ulimit -Hn`",
    ),
)

# What a host has only so much of. It is no fault of the network that was asked for.
_EXHAUSTIONS = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


def host_error(failure: SetupFailed, setting: ReadSetting = read_setting) -> HostError:
    """The error to show for a refused operation."""
    name = errno.errorcode.get(failure.errno, str(failure.errno))
    problem = f"{failure.operation}: {os.strerror(failure.errno)} ({name})"
    if failure.detail:
        problem = f"{problem}: {failure.detail}"
    return SandboxRefused(f"a sandbox cannot be made: {problem}", _remedy(failure, setting))


def exhaustion(error: KernelError | OSError, setting: ReadSetting = read_setting) -> HostError | None:
    """What the host has run out of, with the remedy; None when `error` tells of something else."""
    operation = error.operation if isinstance(error, KernelError) else ""
    number = error.errno or 0
    if number not in _EXHAUSTIONS and not (operation.startswith("unshare") and number == errno.ENOSPC):
        return None
    if isinstance(error, BlockingIOError):
        return None  # the same number, but a defect: somebody forgot to wait
    return HostError(str(error), _remedy(SetupFailed(operation, number), setting))


def _remedy(failure: SetupFailed, setting: ReadSetting) -> str:
    if failure.errno in (errno.EPERM, errno.EACCES):
        return _remedy_of_refusal(failure.operation, setting)
    if failure.operation.startswith("unshare") and failure.errno == errno.ENOSPC:
        return of_namespace_limit(setting)
    for operation, numbers, remedy in _REMEDIES:
        if failure.operation.startswith(operation) and failure.errno in numbers:
            return remedy
    return ""


def _remedy_of_refusal(operation: str, setting: ReadSetting) -> str:
    if switched_off := of_refused_namespaces(setting):
        return switched_off
    if operation.startswith("unshare"):
        return (
            "a container's seccomp profile or a chroot keeps user namespaces from us: with Docker, "
            "--security-opt seccomp=unconfined or --privileged"
        )
    if operation.startswith(("mount proc", "mount sysfs")):
        return (
            "a container hides parts of /proc or /sys: with Docker, "
            "--security-opt systempaths=unconfined or --privileged"
        )
    return "something on this host restricts user namespaces (a container, AppArmor or SELinux); as root it may work"
