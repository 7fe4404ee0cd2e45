"""The zygote of a program that uses the library: a process of its own, because the program may have threads by now."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading

from patchbay_runner.errors import HostError
from patchbay_runner.kernel.sandbox import Sandbox, Zygote
from patchbay_runner.library.entered import has_entered

LAB_ENTRY = "lab"

_lock = threading.Lock()
_zygote: Zygote | None = None
_of_pid = 0
_of_entered = False


def lab_sandbox(payload: bytes = b"") -> Sandbox:
    """A fresh sandbox whose agent serves a lab's commands; `payload` as `recorded` reads it.

    Raises HostError when this machine cannot run labs.
    """
    sandbox = _running().sandbox(LAB_ENTRY, payload)
    try:
        sandbox.wait_ready(30)
    except BaseException:
        sandbox.close()
        raise
    return sandbox


def adopt(zygote: Zygote) -> None:
    """Has labs come from a zygote that is there already, and that the caller closes."""
    global _zygote, _of_pid, _of_entered
    with _lock:
        _zygote, _of_pid, _of_entered = zygote, os.getpid(), has_entered()


def _running() -> Zygote:
    """The process's zygote; a forked child, which has its parent's, gets one of its own, as does who has entered."""
    global _zygote, _of_pid, _of_entered
    with _lock:
        if _zygote is None or (_of_pid, _of_entered) != (os.getpid(), has_entered()):
            _zygote, _of_pid, _of_entered = _spawn(), os.getpid(), has_entered()
        return _zygote


def _spawn() -> Zygote:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        argv = [sys.executable, "-m", "patchbay_runner.library.zygote", str(theirs.fileno())]
        try:
            process = subprocess.Popen(argv, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
        except OSError as error:
            ours.close()
            raise HostError(f"cannot start {sys.executable}: {error.strerror}") from error
    zygote = Zygote(process.pid, ours, frozenset({LAB_ENTRY}))
    # `Zygote.close` collects the process.
    process.returncode = 0
    atexit.register(_close, zygote, os.getpid())
    return zygote


def _close(zygote: Zygote, pid: int) -> None:
    if os.getpid() == pid:
        zygote.close()
