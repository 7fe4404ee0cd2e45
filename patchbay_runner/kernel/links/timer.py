"""A timer of nanosecond grain for epoll, whose own timeout counts in milliseconds. See timerfd_create(2)."""

from __future__ import annotations

import ctypes
import os
import struct
import time

from patchbay_runner.errors import KernelError

_TFD_TIMER_ABSTIME = 1
_ITIMERSPEC = struct.Struct("=qqqq")
_libc = ctypes.CDLL(None, use_errno=True)
_libc.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Timer:
    """Readable once its time on the monotonic clock has come, until it is set anew."""

    __slots__ = ("_at_ns", "_fd")

    def __init__(self) -> None:
        self._at_ns = 0
        self._fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        if self._fd < 0:
            raise KernelError("timerfd_create", ctypes.get_errno())

    def fileno(self) -> int:
        return self._fd

    def set(self, at_ns: int) -> None:
        """Sets the time in nanoseconds of `time.monotonic_ns`; 0 is never."""
        if at_ns == self._at_ns:
            return
        self._at_ns = at_ns
        seconds, nanoseconds = divmod(at_ns, 1_000_000_000)
        if _libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, _ITIMERSPEC.pack(0, 0, seconds, nanoseconds), None) < 0:
            raise KernelError("timerfd_settime", ctypes.get_errno())

    def close(self) -> None:
        os.close(self._fd)
