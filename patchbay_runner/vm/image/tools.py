"""The programs that an image is built with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import HostError

# Debian keeps some where an ordinary user's PATH does not look.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "no_proxy")
_LAST_LINES = 12


def require(program: str, package: str) -> str:
    """The path of a program. Raises HostError, with the package that has it."""
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise HostError(
            f"there is no {program}, which builds images",
            f"apt-get install {package}; where there is no apt, patchbay-vm downloads Debian's image",
        )
    return found


def environment() -> dict[str, str]:
    """What the programs see: their words in English, and no word of the user's about anything but the network."""
    return {name: value for name, value in os.environ.items() if name in _ENVIRONMENT} | {"LC_ALL": "C", "PATH": _PATH}


def run(
    command: Sequence[str],
    task: Task,
    name: str,
    *,
    heard: Callable[[str], None] | None = None,
    more: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """What a program prints, once it has ended; `heard` is told each line. The program dies with this process.

    Raises HostError with its last lines, and Cancelled when the work is called off.
    """
    tied = [require("setpriv", "util-linux"), "--pdeathsig", "KILL", "--", require(command[0], name), *command[1:]]
    lines: list[str] = []
    with subprocess.Popen(
        tied,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        cwd=cwd,
        env=environment() | dict(more or {}),
        # Ctrl-C is this process's to answer.
        start_new_session=True,
    ) as process:
        try:
            with task.waking(lambda: _end(process)):
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    (heard or task.said)(line.strip())
                code = process.wait()
        finally:
            _end(process)
    task.check()
    if code:
        raise HostError(f"{name} failed with exit code {code}:\n{_tail(lines)}")
    return "".join(lines)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def _tail(lines: Sequence[str]) -> str:
    """The last lines that are for people."""
    told = (line.rstrip() for line in lines if not line.startswith(("dlstatus:", "pmstatus:")))
    return "\n".join(f"  │ {line}" for line in deque(filter(None, told), _LAST_LINES))
