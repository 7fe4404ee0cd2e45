"""This thread's sockets in a node, whoever makes them: a seccomp filter hands socket(2) to a supervisor.

::

    thread ── socket(2) ──► kernel ── notification ──► supervisor ── Socket ──► agent: makes it in the node
       ◄──────── descriptor ──────── SECCOMP_IOCTL_NOTIF_ADDFD ────┘

A filter cannot be taken off a thread, so the supervisor looks which node the thread is in now, and lets the call
through when it is in none. The C library's way to names is the same: its opening of /etc/hosts and /etc/resolv.conf
gives the node's files.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from patchbay_runner.errors import HostError, KernelError
from patchbay_runner.kernel import seccomp
from patchbay_runner.kernel.libctexts import addresses_of
from patchbay_runner.kernel.sandbox import messages
from patchbay_runner.lab.client import LabClient
from patchbay_runner.library import supervision

_INSTEAD = "call the code with run_sync, spawn_thread or spawn, or give it sockets of the node"
_REASONS = {
    errno.EBUSY: "something outside answers for this thread's system calls already",
    errno.EINVAL: "the kernel cannot hand system calls to another process (Linux 5.14)",
    errno.ENOSYS: "the kernel has no seccomp, or an emulator stands in for it",
}

_lock = threading.Lock()
_channel: socket.socket | None = None


@contextmanager
def entered_network(client: LabClient, node: str) -> Iterator[None]:
    """See `Node.network`."""
    with client.connect() as agent, _supervised() as connection:
        _tell(connection, supervision.Enter(node), agent.fileno())
        process = os.getpid()
        try:
            yield
        finally:
            # A child that was forked within the block has a copy of the connection, but it is not the one that leaves.
            if os.getpid() == process:
                _tell(connection, supervision.Leave())


def _tell(connection: socket.socket, asked: supervision.Enter | supervision.Leave, *fds: int) -> None:
    if messages.send(connection, asked, fds):
        answer, _ = messages.receive(connection, supervision.ANSWER)
        if answer is not None:
            return
    raise _killed()


def _killed() -> HostError:
    return HostError("the process that answers for the sockets of threads was killed", "start the program again")


def _supervised() -> socket.socket:
    """A connection to this thread's supervisor, which it gets if it has none."""
    try:
        found = _connection()
        if found is None:
            _filter_this_thread()
            found = _connection()
    except (KernelError, OSError) as error:
        reason = _REASONS.get(error.errno or 0, "a container or a security module refuses it")
        raise HostError(f"the sockets of a thread cannot be made in a node: {reason} ({error})", _INSTEAD) from error
    assert found is not None
    return found


def _connection() -> socket.socket | None:
    """What the supervisor gives; None when this thread has none."""
    try:
        fd = socket.socket(supervision.CALL_FAMILY, socket.SOCK_RAW, supervision.VERSION).detach()
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return None
        if error.errno == errno.ENOSYS:  # what the kernel says for a listener that nobody has
            raise _killed() from error
        raise
    return socket.socket(fileno=fd)


def _filter_this_thread() -> None:
    calls = seccomp.calls_of_this_machine()
    if calls is None:
        raise HostError(f"system calls of {os.uname().machine} are not known here", _INSTEAD)
    paths = addresses_of([supervision.HOSTS, supervision.RESOLV_CONF])
    looked_at = [address for address, path in paths.items() if path == supervision.RESOLV_CONF]
    program = seccomp.filter_program(calls, paths, looked_at)
    told = supervision.Listener(threading.get_native_id(), paths)
    channel = _channel_to_supervisor()
    # A handler that makes a socket must wait until there is somebody who answers.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        listener = seccomp.install(calls, program)
        messages.send(channel, told, [listener])
        os.close(listener)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _channel_to_supervisor() -> socket.socket:
    """The process's supervisor, which forked children share."""
    global _channel
    with _lock:
        if _channel is None:
            _channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                argv = [sys.executable, "-m", "patchbay_runner.library.supervisor", str(theirs.fileno())]
                process = subprocess.Popen(
                    argv, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True
                )
            # It ends by itself, and may outlive this process.
            process.returncode = 0
        return _channel
