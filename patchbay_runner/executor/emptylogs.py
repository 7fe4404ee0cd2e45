"""Logs that stayed empty become the logs of later programs.

Making a file can cost more than starting a program: ext4 without a journal looks at every inode that was deleted in
the last minutes before it takes one, and two files a step then take milliseconds. Most programs print nothing on at
least one of their two streams. So the empty log of an ended program is renamed for the next one, and its own name is
restored when the sim ends, as a link to one empty file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from patchbay_runner.model.recording import Recorder
from patchbay_runner.model.steps import Stream


@dataclass(frozen=True, slots=True)
class _Log:
    node: str
    step: str
    stream: Stream
    path: str


class EmptyLogs:
    """The empty logs of ended programs."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._free: dict[tuple[str, Stream], list[_Log]] = {}
        self._renamed: list[_Log] = []

    def offer(self, node: str, step: str, stream: Stream, path: Path) -> None:
        """Takes in the log of an ended program that printed nothing there."""
        self._free.setdefault((node, stream), []).append(_Log(node, step, stream, str(path)))

    def provide(self, node: str, stream: Stream, path: Path) -> None:
        """Makes the log that is about to be opened at `path` out of an empty one, when there is one."""
        free = self._free.get((node, stream))
        if not free:
            return
        log = free.pop()
        if _is_unused(log.path) and not os.path.lexists(path):
            os.rename(log.path, path)  # noqa: PTH104 - Path costs more than the system call
            self._renamed.append(log)

    def restore(self) -> None:
        """Gives the programs that printed nothing their empty logs back."""
        first = ""
        for log in self._renamed:
            if first:
                # Not every file system has hard links, and none has arbitrarily many.
                with contextlib.suppress(OSError):
                    os.link(first, log.path)
                    continue
            os.close(self._recorder.open_log(log.node, log.step, log.stream))
            first = log.path
        self._renamed.clear()


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
