"""Processes that outlive the command that starts them, and are found again by whoever comes next.

Each notes its process id itself, before it becomes the program, and holds the machine's lock until then. A command that
is killed anywhere leaves either nothing, or a process that the next command finds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Its standard input is the lock, which ends with the redirection.
_NOTING = 'echo $$ >"$0" && exec "$@" </dev/null'
_POLL_S = 0.02


def start(argv: Sequence[str], note: Path, log: Path, lock: int) -> int:
    """Starts a program in a session of its own; returns its id, of a child of this process.

    `note` is where its id goes, `log` where its output goes, `lock` the descriptor that holds the machine's lock.
    """
    creating = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    return os.posix_spawn(
        "/bin/sh",
        ["/bin/sh", "-c", _NOTING, str(note), *argv],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lock, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), creating, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )


def exit_code(pid: int) -> int | None:
    """How a child of this process ended, minus the number of a signal; None while it runs."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0  # it was asked for before
    return os.waitstatus_to_exitcode(status) if ended == pid else None


def find(note: Path, mark: str) -> int | None:
    """The id of the process that `note` tells of, if it is alive. `mark` stands in its command line and in no other."""
    try:
        pid = int(note.read_text())
    except (FileNotFoundError, ValueError):
        return None
    # The kernel gives ids to others once their process has gone.
    return pid if pid > 1 and mark in _command_line(pid) else None


def end(note: Path, mark: str, patience_s: float) -> None:
    """Ends the process by SIGTERM, or by SIGKILL when it takes longer than `patience_s`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        pid = find(note, mark)
        if pid is None:
            break
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if has_ended(note, mark, patience_s):
            break
    note.unlink(missing_ok=True)


def has_ended(note: Path, mark: str, patience_s: float) -> bool:
    """Whether the process ends within that time."""
    deadline = time.monotonic() + patience_s
    while (pid := find(note, mark)) is not None:
        if time.monotonic() > deadline:
            return False
        exit_code(pid)  # a child of this very process would stay, as a zombie, until it is waited for
        time.sleep(_POLL_S)
    return True


def _command_line(pid: int) -> str:
    if sys.platform == "linux":
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" "))
        except (FileNotFoundError, ProcessLookupError):
            return ""
    listed = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, check=False)
    return os.fsdecode(listed.stdout)
