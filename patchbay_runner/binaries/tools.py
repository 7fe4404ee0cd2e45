"""Running git and cargo: cancellable, their last lines at hand, their whole output in a log."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import BinaryError

_POLL_MS = 100
_GRACE_S = 2.0
_TAIL_LINES = 30
_LINE_ENDS = re.compile(rb"[\r\n]+")
# Set by a Git hook that runs us; git itself lists them with `git rev-parse --local-env-vars`.
_GIT_LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS",
        "GIT_DIR", "GIT_GRAFT_FILE", "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
        "GIT_WORK_TREE",
    }
)  # fmt: skip


class Ended(msgspec.Struct, frozen=True):
    """How a tool ended. `tail` holds the last lines of its standard error."""

    exit_code: int
    output: bytes
    tail: tuple[str, ...]


def tool_environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """For tools that nobody answers: they fail where they would ask."""
    kept = {name: value for name, value in environment.items() if name not in _GIT_LOCAL}
    kept |= {"HOME": str(home), "GIT_TERMINAL_PROMPT": "0"}
    kept.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    return kept


def run_tool(
    arguments: Sequence[str | Path], cwd: Path, environment: Mapping[str, str], task: Task, log: IO[bytes] | None = None
) -> Ended:
    """Runs a program to its end, with the effective user's rights.

    Raises Cancelled, or BinaryError when it cannot be started.
    """
    # Under sudo only the effective user is the caller; programs look at the real one as well.
    user, group = (None, None) if os.getuid() == os.geteuid() else (os.geteuid(), os.getegid())
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(map(str, arguments)),
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours to pass on
                user=user,
                group=group,
            )
        except OSError as error:
            raise BinaryError(f"cannot run {arguments[0]} in {cwd}: {error.strerror}") from error
        with process:
            try:
                tail = _follow(process, task, log)
            except BaseException:
                _terminate(process)
                raise
        output.seek(0)
        return Ended(process.returncode, output.read(), tail)


def _follow(process: subprocess.Popen[bytes], task: Task, log: IO[bytes] | None) -> tuple[str, ...]:
    """Reads standard error until the process ends. What it leaves running in the background is not waited for."""
    assert process.stderr is not None
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    rest = b""
    poll = select.poll()
    poll.register(process.stderr, select.POLLIN)
    while True:
        task.check()
        has_ended = process.poll() is not None
        if not poll.poll(0 if has_ended else _POLL_MS):
            if has_ended:
                break
            continue
        data = os.read(process.stderr.fileno(), 1 << 16)
        if not data:
            break
        if log:
            log.write(data)
        *lines, rest = _LINE_ENDS.split(rest + data)
        for line in lines:
            _note(line, tail, task)
    _note(rest, tail, task)
    process.wait()
    return tuple(tail)


def _note(line: bytes, tail: deque[str], task: Task) -> None:
    text = line.decode(errors="replace").rstrip()
    if text:
        tail.append(text)
        task.said(text.strip())


def _terminate(process: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except (ProcessLookupError, PermissionError):
            return
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return
