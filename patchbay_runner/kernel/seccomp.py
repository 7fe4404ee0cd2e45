"""Seccomp's user notification: a thread's system calls that a supervisor in another process answers.

See seccomp(2), seccomp_unotify(2) and linux/seccomp.h. A filter stays with the thread that installs it, and with every
thread and program that it starts from then on; one task has at most one filter with a listener.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from patchbay_runner.errors import KernelError


class Calls(msgspec.Struct, frozen=True):
    """The numbers of system calls on one architecture; those by path with the position of the path's argument."""

    audit: int
    seccomp: int
    socket: int
    open: Mapping[int, int]
    stat: Mapping[int, int]
    io_uring_setup: int = 425


class Notification(msgspec.Struct, frozen=True):
    """A system call that waits for an answer. `tid` is its thread, as this process counts."""

    id: int
    tid: int
    number: int
    arguments: tuple[int, ...]


# linux/audit.h; open, openat and openat2; stat, newfstatat and statx.
_CALLS = {
    "x86_64": Calls(0xC000003E, 317, 41, {2: 0, 257: 1, 437: 1}, {4: 0, 262: 1, 332: 1}),
    "aarch64": Calls(0xC00000B7, 277, 198, {56: 1, 437: 1}, {79: 1, 291: 1}),
}

_SET_MODE_FILTER = 1
_NEW_LISTENER, _WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
_PR_SET_NO_NEW_PRIVS = 38

_RET_NOTIFY, _RET_ALLOW = 0x7FC00000, 0x7FFF0000
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # 32 bits of the call's data, compared to a constant
_NUMBER_AT, _AUDIT_AT, _ARGUMENTS_AT = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_ADDITION = struct.Struct("=QIIII")
_IOCTL_RECV, _IOCTL_SEND, _IOCTL_ADDFD = 0xC0502100, 0xC0182101, 0x40182103
_FLAG_CONTINUE = 1
_ADDFD_SEND = 1 << 1

_Instruction = tuple[int, int, int, int]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def calls_of_this_machine() -> Calls | None:
    """None on an architecture that is not known here."""
    return _CALLS.get(platform.machine())


def filter_program(calls: Calls, opened: Iterable[int], looked_at: Iterable[int]) -> bytes:
    """Classic BPF that has a listener asked about sockets, rings of io_uring, and a few paths.

    Paths are told by where the text stands in memory: `opened` and `looked_at` are addresses. Sockets between processes
    and for the kernel's cryptography belong to no network.
    """
    families = [
        instruction
        for family in (socket.AF_UNIX, socket.AF_ALG)
        for instruction in _when(_argument(0), family, [_return(_RET_ALLOW)])
    ]
    program: list[_Instruction] = [*_unless(_AUDIT_AT, calls.audit, _return(_RET_ALLOW))]
    program += _when(_NUMBER_AT, calls.socket, [*families, _return(_RET_NOTIFY)])
    program += _when(_NUMBER_AT, calls.io_uring_setup, [_return(_RET_NOTIFY)])
    for numbers, addresses in ((calls.open, opened), (calls.stat, looked_at)):
        for number, position in numbers.items():
            program += _when(_NUMBER_AT, number, [*_any_of(position, addresses), _return(_RET_ALLOW)])
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in (*program, _return(_RET_ALLOW)))


def _any_of(position: int, addresses: Iterable[int]) -> list[_Instruction]:
    found: list[_Instruction] = []
    for address in addresses:
        high = _when(_argument(position) + 4, address >> 32, [_return(_RET_NOTIFY)])
        found += _when(_argument(position), address & 0xFFFFFFFF, high)
    return found


def _argument(position: int) -> int:
    """Where the low half of an argument stands, on machines that have it first."""
    return _ARGUMENTS_AT + 8 * position


def _when(at: int, value: int, body: list[_Instruction]) -> list[_Instruction]:
    return [(_LOAD, 0, 0, at), (_JUMP_EQUAL, 0, len(body), value), *body]


def _unless(at: int, value: int, instruction: _Instruction) -> list[_Instruction]:
    return [(_LOAD, 0, 0, at), (_JUMP_EQUAL, 1, 0, value), instruction]


def _return(value: int) -> _Instruction:
    return (_RETURN, 0, 0, value)


def install(calls: Calls, program: bytes) -> int:
    """Puts the filter on the calling thread for good; the descriptor of its listener (close-on-exec).

    Without CAP_SYS_ADMIN the thread gives up setuid programs first (PR_SET_NO_NEW_PRIVS). Raises KernelError.
    """
    try:
        return _install(calls, program)
    except KernelError as error:
        if error.errno != errno.EACCES:
            raise
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) < 0:
        raise KernelError("prctl PR_SET_NO_NEW_PRIVS", ctypes.get_errno())
    return _install(calls, program)


def _install(calls: Calls, program: bytes) -> int:
    given = _Program(len(program) // _INSTRUCTION.size, program)
    # With the second flag a signal does not interrupt what the supervisor has taken up already (Linux 5.19).
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE_RECV, _NEW_LISTENER):
        arguments = map(ctypes.c_ulong, (calls.seccomp, _SET_MODE_FILTER, flags))
        listener = int(_libc.syscall(*arguments, ctypes.byref(given)))
        if listener >= 0:
            return listener
        if ctypes.get_errno() != errno.EINVAL:
            break
    raise KernelError("seccomp", ctypes.get_errno())


def receive(listener: int) -> Notification | None:
    """The next call that waits; None when it has been given up meanwhile."""
    buffer = bytearray(_NOTIFICATION.size)  # the kernel wants zeros
    try:
        fcntl.ioctl(listener, _IOCTL_RECV, buffer, True)
    except FileNotFoundError:
        return None
    identifier, tid, _flags, number, _audit, _pointer, *arguments = _NOTIFICATION.unpack(buffer)
    return Notification(identifier, tid, number, tuple(arguments))


def let_through(listener: int, identifier: int) -> None:
    """Has the kernel carry out the call as if nobody had asked."""
    _respond(listener, identifier, 0, _FLAG_CONTINUE)


def refuse(listener: int, identifier: int, number: int) -> None:
    """Has the call fail with an error number."""
    _respond(listener, identifier, -number, 0)


def _respond(listener: int, identifier: int, error: int, flags: int) -> None:
    with suppress(FileNotFoundError):  # the thread has ended, or a signal has made it give up
        fcntl.ioctl(listener, _IOCTL_SEND, _RESPONSE.pack(identifier, 0, error, flags))


def answer_with(listener: int, identifier: int, fd: int, *, is_inheritable: bool) -> None:
    """Has the call return a copy of `fd` (Linux 5.14). Raises OSError when the kernel does not do this."""
    flags = 0 if is_inheritable else os.O_CLOEXEC
    with suppress(FileNotFoundError):  # as above
        fcntl.ioctl(listener, _IOCTL_ADDFD, _ADDITION.pack(identifier, _ADDFD_SEND, fd, 0, flags))
