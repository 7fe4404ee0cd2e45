"""Logs that stayed empty become the logs of later programs.

Making a file can cost more than starting a program: ext4 without a journal looks at every inode that was deleted in
the last minutes before it takes one, and two files a step then make a `run` of `true` four times a bare spawn instead
of twice. Most programs print nothing on at least one of their two streams. So the empty log of an ended program is
renamed for the next one, and a link to an empty file takes its place.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path

from patchbay_runner.model.steps import Stream


class EmptyLogs:
    """The empty logs of ended programs."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, Stream], list[str]] = {}
        # The empty file that takes the place of those that are given away.
        self._stand_in = ""

    def offer(self, node: str, stream: Stream, path: Path) -> None:
        """Takes in the log of an ended program that printed nothing there."""
        self._free.setdefault((node, stream), []).append(str(path))

    def provide(self, node: str, stream: Stream, path: Path) -> None:
        """Makes the log that is about to be opened at `path` out of an empty one, when there is one."""
        free = self._free.get((node, stream))
        if not free:
            return
        log = free.pop()
        if not _is_unused(log) or os.path.lexists(path):
            return
        if not self._stand_in or not _give_away(log, str(path), self._stand_in):
            self._stand_in = log

    def part(self, path: Path) -> None:
        """Makes the log at `path`, which was opened before, a file of its own again."""
        if self._stand_in == str(path):
            self._stand_in = ""
        with suppress(FileNotFoundError):
            if path.stat().st_nlink > 1:
                path.unlink()


def _give_away(log: str, path: str, stand_in: str) -> bool:
    """Moves `log` to `path`; False when the file system has no hard links, or no more of this file."""
    os.rename(log, path)  # noqa: PTH104 - Path costs more than the system call
    try:
        os.link(stand_in, log)
    except OSError:
        os.rename(path, log)  # noqa: PTH104
        return False
    return True


def _is_unused(path: str) -> bool:
    """True when the file is empty and no other process has it open, a daemon that forked away for instance.

    The kernel knows: it gives a write lease (fcntl(2), F_SETLEASE) to the only one who has a file open.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Who opens the file while we hold the lease makes the kernel send a signal: one that is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return os.fstat(descriptor).st_size == 0
    except OSError:
        # Somebody has it open, or the file system has no leases: a new file is always right.
        return False
    finally:
        os.close(descriptor)
