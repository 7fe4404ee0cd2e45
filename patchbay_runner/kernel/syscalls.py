"""Linux system calls that Python 3.11 does not offer, each raising `KernelError` when the kernel refuses.

Numbers and layouts are those of the kernel's user-space headers: linux/sched.h, linux/mount.h, linux/prctl.h,
linux/capability.h.
"""

from __future__ import annotations

import ctypes
import os

from patchbay_runner.errors import KernelError

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_RELATIME = 0x200000

_MNT_DETACH = 2

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 0x1
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
# The same on every architecture, as all system calls since Linux 5.1; the C library has names for them only since 2.36.
# The attributes of mounts that are used here have the MS_ values.
_NR_OPEN_TREE, _NR_MOVE_MOUNT, _NR_FSOPEN, _NR_FSCONFIG, _NR_FSMOUNT = 428, 429, 430, 431, 432
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_FSCONFIG_CMD_CREATE = 6

_PR_SET_PDEATHSIG = 1
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def unshare(flags: int) -> None:
    """Moves the calling thread into new namespaces (CLONE_NEW*). See unshare(2)."""
    if _libc.unshare(flags) < 0:
        raise KernelError(f"unshare {flags:#x}", ctypes.get_errno())


def setns(fd: int, kind: int) -> None:
    """Moves the calling thread into the namespace behind `fd`, which must be of `kind` (one CLONE_NEW*)."""
    if _libc.setns(fd, kind) < 0:
        raise KernelError(f"setns {kind:#x}", ctypes.get_errno())


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2). Empty texts are passed as the kernel's "none"."""
    arguments = [os.fsencode(text) or None for text in (source, target, fstype)]
    if _libc.mount(*arguments, flags, os.fsencode(data) or None) < 0:
        raise KernelError(f"mount {fstype or source} on {target}".replace("  ", " "), ctypes.get_errno())


def unmount(target: str) -> None:
    """Takes a mount away from where it is, at once; it is gone when nobody uses it any more. See umount2(2)."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH) < 0:
        raise KernelError(f"unmount {target}", ctypes.get_errno())


def open_tree(path: str) -> int:
    """A detached copy of the mounts at and below `path`, which nothing mounted over `path` later can change."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_RECURSIVE
    return _syscall(f"open_tree {path}", _NR_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)


def move_mount(fd: int, target: str) -> None:
    """Attaches what `open_tree` gave at `target`."""
    where = (_AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _syscall(f"move_mount to {target}", _NR_MOVE_MOUNT, fd, b"", *where)


def detached_mount(fstype: str) -> int:
    """A close-on-exec descriptor of the root of a fresh mount that is attached nowhere and goes with the descriptor.

    See fsopen(2) and fsmount(2), Linux 5.2.
    """
    context = _syscall("fsopen", _NR_FSOPEN, os.fsencode(fstype), _FSOPEN_CLOEXEC)
    try:
        _syscall("fsconfig", _NR_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
        return _syscall("fsmount", _NR_FSMOUNT, context, _FSMOUNT_CLOEXEC, MS_NOSUID | MS_NODEV | MS_NOEXEC)
    finally:
        os.close(context)


def _syscall(operation: str, number: int, *arguments: bytes | int | None) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        raise KernelError(operation, ctypes.get_errno())
    return result


def sethostname(name: str) -> None:
    """Sets the hostname of the current UTS namespace; at most 64 bytes."""
    encoded = os.fsencode(name)
    if _libc.sethostname(encoded, len(encoded)) < 0:
        raise KernelError(f"sethostname {name}", ctypes.get_errno())


def set_parent_death_signal(signum: int) -> None:
    """The signal that the kernel sends us when the thread that forked us ends; cleared by changes of credentials."""
    if _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) < 0:
        raise KernelError("prctl PR_SET_PDEATHSIG", ctypes.get_errno())


def raise_ambient_capability(number: int) -> None:
    """Adds a capability, already permitted and inheritable, to those that survive exec of an ordinary program."""
    if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0) < 0:
        raise KernelError(f"prctl PR_CAP_AMBIENT_RAISE {number}", ctypes.get_errno())


def clear_ambient_capabilities() -> None:
    """Has ordinary programs get no capability by exec; ours stay."""
    if _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0:
        raise KernelError("prctl PR_CAP_AMBIENT_CLEAR_ALL", ctypes.get_errno())


def capget() -> tuple[int, int, int]:
    """Our effective, permitted and inheritable capabilities, as bit masks."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    halves = (_CapabilityData * 2)()
    if _libc.capget(ctypes.byref(header), halves) < 0:
        raise KernelError("capget", ctypes.get_errno())
    low, high = halves
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Sets our capabilities from bit masks."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    halves = (_CapabilityData * 2)()
    for index, half in enumerate(halves):
        half.effective = effective >> (32 * index) & 0xFFFFFFFF
        half.permitted = permitted >> (32 * index) & 0xFFFFFFFF
        half.inheritable = inheritable >> (32 * index) & 0xFFFFFFFF
    if _libc.capset(ctypes.byref(header), halves) < 0:
        raise KernelError("capset", ctypes.get_errno())
