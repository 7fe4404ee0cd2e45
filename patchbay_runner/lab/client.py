"""A client of an agent: the lab's commands from another process, blocking. Safe to use from many threads."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket as sockets
import subprocess
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import IO, Any, TypeVar

from patchbay_runner.errors import CommandNotFound, EmulatorDied, LabError, PatchbayError, StepError
from patchbay_runner.kernel.entering import Place
from patchbay_runner.lab import commands
from patchbay_runner.lab.commands import Family
from patchbay_runner.model.topology import Topology

_R = TypeVar("_R", bound=commands.Reply)

_FAMILIES = {"inet": sockets.AF_INET, "inet6": sockets.AF_INET6, "packet": sockets.AF_PACKET}
_KINDS = {"stream": sockets.SOCK_STREAM, "dgram": sockets.SOCK_DGRAM, "raw": sockets.SOCK_RAW}


class RemoteProcess:
    """A program that runs in a node. `pid` counts inside the sandbox."""

    def __init__(self, client: LabClient, pid: int, pidfd: int) -> None:
        self._client = client
        self.pid = pid
        self._pidfd = pidfd
        self.returncode: int | None = None
        weakref.finalize(self, os.close, pidfd)

    def fileno(self) -> int:
        """Readable once it has ended."""
        return self._pidfd

    def poll(self, timeout_s: float | None) -> int | None:
        """As `wait`, but None when the time is over."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        if self.returncode is None and not poller.poll(None if timeout_s is None else timeout_s * 1000):
            return None
        return self.wait()

    def wait(self) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._client.call(commands.Wait(self.pid), commands.Exited).returncode
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signals its whole process group."""
        self._client.call(commands.Signal(self.pid, number), commands.Done)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class LabClient:
    """One agent's commands. Every thread talks over a connection of its own."""

    def __init__(self, control: sockets.socket) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connections: list[sockets.socket] = []

    def close(self) -> None:
        """Closes every connection; the lab goes on until its sandbox ends."""
        with self._lock:
            for connection in (self._control, *self._connections):
                connection.close()

    def build(self, topology: Topology, seed: int | None = None) -> dict[str, Any]:
        """Builds the network and returns its state; `seed` as in `LabOptions`. Raises LabError."""
        return self.call(commands.Build(topology, seed), commands.NodeList).state

    def state(self) -> dict[str, Any]:
        return self.call(commands.State(), commands.NodeList).state

    def socket(self, node: str, family: Family = "inet", kind: str = "stream", protocol: int = 0) -> sockets.socket:
        """A socket that lives in the node's network, for any thread of this process."""
        command = commands.Socket(node, family, kind, protocol)  # type: ignore[arg-type]  # the agent checks it
        _, fds = self._exchange(command, (), commands.Done)
        return sockets.socket(_FAMILIES[family], _KINDS[kind], protocol, fileno=fds[0])

    def enter(self, node: str) -> tuple[Place, dict[str, str]]:
        """The way into a node for `run_inside`, and what the lab adds to the environment of its programs."""
        entered, fds = self._exchange(commands.Enter(node), (), commands.Entered)
        return Place(*fds), entered.env

    def connect(self) -> sockets.socket:
        """A further connection to the agent, for another process. Raises LabError."""
        _, fds = self._exchange(commands.Connect(), (), commands.Done)
        return sockets.socket(fileno=fds[0])

    def popen(
        self,
        node: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> RemoteProcess:
        """Starts a program in a node; a stream that is not given is `/dev/null`."""
        with contextlib.ExitStack() as stack:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, null)
            fds = tuple(_descriptor(stream, null) for stream in (stdin, stdout, stderr))
            command = commands.Spawn(node, tuple(argv), dict(env or {}), cwd)
            started, (pidfd,) = self._exchange(command, fds, commands.Started)
        return RemoteProcess(self, started.pid, pidfd)

    def run(
        self, node: str, argv: Sequence[str], *, input: bytes = b"", check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a program in a node to its end, as `subprocess.run` with captured output does."""
        with (
            os.fdopen(os.memfd_create("stdin"), "w+b", buffering=0) as stdin,
            os.fdopen(os.memfd_create("stdout"), "w+b", buffering=0) as stdout,
            os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0) as stderr,
        ):
            stdin.write(input)
            stdin.seek(0)
            process = self.popen(node, argv, stdin=stdin, stdout=stdout, stderr=stderr, **options)
            returncode = process.wait()
            stdout.seek(0)
            stderr.seek(0)
            done = subprocess.CompletedProcess(list(argv), returncode, stdout.read(), stderr.read())
        if check:
            done.check_returncode()
        return done

    def change(self, change: commands.Change) -> None:
        """Changes the running network. Raises LabError."""
        self.call(change, commands.Done)

    def link_down(self, device: str, interface: str) -> None:
        self.change(commands.LinkDown(device, interface))

    def link_up(self, device: str, interface: str) -> None:
        self.change(commands.LinkUp(device, interface))

    def set_default_route(self, device: str, interface: str) -> None:
        self.change(commands.SetDefaultRoute(device, interface))

    def call(self, command: commands.AnyCommand, reply: type[_R]) -> _R:
        """Sends a command and returns its reply. Raises the error that the agent met."""
        return self._exchange(command, (), reply)[0]

    def _exchange(
        self, command: commands.AnyCommand, fds: tuple[int, ...], expected: type[_R]
    ) -> tuple[_R, tuple[int, ...]]:
        return _exchange(self._connection(), command, fds, expected)

    def _connection(self) -> sockets.socket:
        connection: sockets.socket | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._lock:
                _, fds = _exchange(self._control, commands.Connect(), (), commands.Done)
                connection = sockets.socket(fileno=fds[0])
                self._connections.append(connection)
            self._local.connection = connection
        return connection


def _exchange(
    connection: sockets.socket, command: commands.AnyCommand, fds: tuple[int, ...], expected: type[_R]
) -> tuple[_R, tuple[int, ...]]:
    try:
        commands.send_message(connection, command, fds)
    except OSError as error:
        raise LabError("the lab's sandbox has ended") from error
    reply, received = commands.receive_reply(connection)
    if isinstance(reply, expected):
        return reply, received
    for fd in received:
        os.close(fd)
    if isinstance(reply, commands.Refused):
        raise _error(reply)
    raise LabError(f"unexpected reply {reply!r} to {command!r}")


def _error(refused: commands.Refused) -> PatchbayError:
    """The agent's error again: its class by name, its message whole."""
    kinds = (CommandNotFound, StepError, EmulatorDied)
    kind = {kind.__name__: kind for kind in kinds}.get(refused.kind, LabError)
    return kind(refused.message)


def _descriptor(stream: int | IO[bytes] | None, null: int) -> int:
    if stream is None:
        return null
    return stream if isinstance(stream, int) else stream.fileno()
