"""Handles of nodes: cheap to copy, valid as long as their lab; a node that is gone answers with LabError."""

from __future__ import annotations

import socket as socket_module
import subprocess
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from ipaddress import IPv4Address, IPv6Address
from os import PathLike
from typing import IO, Any, ClassVar, TypeVar

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.library import processes, sockets
from patchbay_runner.library.interfaces import Interface
from patchbay_runner.library.networks import entered_network
from patchbay_runner.library.processes import DEVNULL, PIPE, Command, Popen
from patchbay_runner.library.reflectors import Reflector
from patchbay_runner.library.session import Session
from patchbay_runner.library.tasks import AsyncProcess, Task

_T = TypeVar("_T")


class Node:
    """What all nodes can: run programs, and hand out sockets that live in their network.

    Handles are cheap and equal when they are of one node. Examples of this reference have a lab with a datacenter,
    whose router `dc` has the device `server`, and a home, whose router `home` has the device `laptop`.

    Examples:
        >>> lab.device("laptop") == laptop
        True
        >>> laptop.name
        'laptop'
    """

    _kind: ClassVar[str]

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self.name = name

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and (self._session, self.name) == (other._session, other.name)

    def __hash__(self) -> int:
        return hash((id(self._session), self.name))

    @property
    def interfaces(self) -> dict[str, Interface]:
        """By name, as they are now. Raises LabError when the node is gone.

        Examples:
            >>> laptop.interfaces["eth0"].ip == laptop.ip
            True
        """
        raise NotImplementedError

    @property
    def ip(self) -> IPv4Address:
        """The IPv4 address that others reach it by. Raises LabError when it has none.

        Examples:
            >>> server.ip
            IPv4Address('198.18.1.2')
        """
        found = self._first_interface().ip
        if found is None:
            raise LabError("it has no IPv4 address", self.name)
        return found

    @property
    def ip6(self) -> IPv6Address:
        """The IPv6 address that others reach it by. Raises LabError when it has none.

        Examples:
            >>> lab.ix.ip6
            IPv6Address('2001:db8::1')
        """
        found = self._first_interface().ip6
        if found is None:
            raise LabError("it has no IPv6 address", self.name)
        return found

    def _first_interface(self) -> Interface:
        return next(iter(self.interfaces.values()))

    def run(
        self,
        args: Command,
        *,
        input: Any = None,
        capture_output: bool = True,
        check: bool = True,
        text: bool = True,
        timeout: float | None = None,
        stdin: int | IO[Any] | None = DEVNULL,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
    ) -> subprocess.CompletedProcess[Any]:
        """Runs a program in the node to its end, as `subprocess.run` does, with text captured and a failure raised.

        `timeout` in seconds; `env` is added to what programs of a lab get. Raises CommandNotFound,
        subprocess.CalledProcessError, subprocess.TimeoutExpired.

        Examples:
            >>> "1 received" in laptop.run(["ping", "-c1", "server"], timeout=10).stdout
            True
            >>> laptop.run(["sh", "-c", "exit 3"], check=False).returncode
            3
        """
        stream = PIPE if capture_output else None
        with self.popen(
            args,
            stdin=stdin if input is None else PIPE,
            stdout=stream,
            stderr=stream,
            env=env,
            cwd=cwd,
            text=text,
        ) as process:
            try:
                stdout, stderr = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                stdout, stderr = process.communicate()
                raise subprocess.TimeoutExpired(list(args), timeout or 0.0, stdout, stderr) from None
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(list(args), process.wait(), stdout, stderr)
        if check:
            done.check_returncode()
        return done

    def popen(
        self,
        args: Command,
        *,
        stdin: int | IO[Any] | None = DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
        text: bool = False,
    ) -> Popen:
        """Starts a program in the node, in a process group of its own. It ends with the lab at the latest.

        Streams are the caller's unless they are given: PIPE, DEVNULL, STDOUT, a descriptor or a file. `env` is added to
        what programs of a lab get. Raises CommandNotFound.

        Examples:
            >>> from patchbay_runner import PIPE
            >>> with server.popen(["cat"], stdin=PIPE, stdout=PIPE, text=True) as cat:
            ...     cat.communicate("there and back")[0]
            'there and back'
        """
        return processes.start(
            self._session.client,
            self.name,
            args,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            text=text,
        )

    def socket(
        self, family: int = socket_module.AF_INET, type: int = socket_module.SOCK_STREAM, proto: int = 0
    ) -> socket_module.socket:
        """A socket that lives in the node's network, for code that stays where it is, in any thread.

        `family` is AF_INET, AF_INET6 or AF_PACKET. Raises LabError for what the kernel refuses.

        Examples:
            >>> import socket
            >>> with laptop.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            ...     probe.sendto(b"anybody?", (str(server.ip), 9000))
            8
        """
        return sockets.make(self._session.client, self.name, family, type, proto)

    def create_connection(
        self,
        address: tuple[object, int],
        timeout: float | None = None,
        source_address: tuple[object, int] | None = None,
    ) -> socket_module.socket:
        """A TCP connection from the node, as `socket.create_connection` makes one; `address` is a host and a port.

        A host is a node's handle, an address, or a name as the node resolves it; `timeout` in seconds. Raises OSError.

        Examples:
            >>> with server.tcp_reflector(9000), laptop.create_connection(("server", 9000), timeout=5) as connection:
            ...     connection.sendall(b"hello")
            ...     connection.recv(5)
            b'hello'
        """
        return sockets.create_connection(self, address, timeout, source_address)

    def listen(self, port: int = 0, *, host: object = "0.0.0.0", backlog: int = 128) -> socket_module.socket:
        """A listening TCP socket in the node; `port` 0 takes a free one. Raises OSError.

        Examples:
            >>> with server.listen(8000) as listener, laptop.create_connection((server, 8000)):
            ...     theirs, seen = listener.accept()
            ...     theirs.close()
            >>> seen[0] == str(home.ip)  # what the NAT made of it
            True
        """
        return sockets.listen(self, host, port, backlog)

    def resolve(self, host: object) -> list[IPv4Address | IPv6Address]:
        """What a host stands for in the node: a node's handle, an address, or a name. Raises OSError.

        Examples:
            >>> server.ip in laptop.resolve("server")
            True
        """
        return sockets.resolve(self, host)

    def udp_reflector(self, port: int = 0, *, host: object = "0.0.0.0") -> Reflector:
        """A UDP server that sends back what comes; bound when this returns, until it is closed. Raises OSError.

        Examples:
            >>> with server.udp_reflector(9000), laptop.socket(type=socket.SOCK_DGRAM) as probe:
            ...     probe.settimeout(5)
            ...     _ = probe.sendto(b"anybody?", (str(server.ip), 9000))
            ...     probe.recv(100)
            b'anybody?'
        """
        return self._session.closed_with_it(Reflector.udp(self, host, port))

    def tcp_reflector(self, port: int = 0, *, host: object = "0.0.0.0") -> Reflector:
        """A TCP server that sends back what comes; bound when this returns, until it is closed. Raises OSError.

        Examples:
            >>> with server.tcp_reflector() as reflector, laptop.create_connection((server, reflector.port)) as mine:
            ...     mine.sendall(b"again")
            ...     mine.recv(5)
            b'again'
        """
        return self._session.closed_with_it(Reflector.tcp(self, host, port))

    @contextmanager
    def network(self) -> Iterator[None]:
        """Within the block, every socket that this thread makes is the node's, whichever library makes it.

        So are the sockets of threads and programs that it starts from then on, asyncio's and thread pools' among them,
        and the C library looks up names as the node does. Sockets that were there before stay where they are. What it
        logs belongs to the node, as with `logging`. Raises HostError where the kernel or a container refuses; a lab
        that ends meanwhile makes sockets fail (ENETDOWN).

        Examples:
            >>> import socket
            >>> with server.tcp_reflector(9000), laptop.network():
            ...     with socket.create_connection(("server", 9000), timeout=5) as connection:
            ...         connection.getsockname()[0] == str(laptop.ip)
            True
        """
        with self.logging(), entered_network(self._session.client, self.name):
            yield

    @property
    def runs_in_process(self) -> bool:
        """Whether functions and coroutines run in this process, as after `enter`, and not in a worker process.

        Examples:
            >>> laptop.runs_in_process
            False
        """
        return self._session.runs_in_process

    def run_sync(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """What `function` returns when it is called in the node, one call after another.

        It runs in a worker process there: the function, what it is given, and what it returns or raises are copies
        (pickled, by cloudpickle). Where `runs_in_process`, it runs in a thread of this process, and nothing is copied.
        Raises LabError when the worker or the lab ends meanwhile.

        Examples:
            >>> import socket
            >>> laptop.run_sync(socket.gethostname)
            'laptop'
            >>> laptop.run_sync(lambda host: socket.gethostbyname(host), "server")
            '198.18.1.2'
        """
        found: _T = self._session.worker(self._kind, self.name).call("turn", function, args, kwargs).result()
        return found

    def spawn_thread(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> Future[_T]:
        """As `run_sync`, but in a thread of its own there, and this returns at once.

        Examples:
            >>> looking = laptop.spawn_thread(socket.gethostbyname, "server")
            >>> looking.result(timeout=10)
            '198.18.1.2'
        """
        return self._session.worker(self._kind, self.name).call("thread", function, args, kwargs)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **kwargs: Any) -> Task[_T]:
        """Runs a coroutine function on the node's own event loop, where `run_sync` runs functions.

        The result can be awaited on any loop, and waited for in any thread.

        Examples:
            >>> import asyncio
            >>> async def echoed(host, port):
            ...     reader, writer = await asyncio.open_connection(host, port)
            ...     writer.write(b"hello")
            ...     answer = await reader.read(5)
            ...     writer.close()
            ...     return answer
            >>> async def main():
            ...     return await laptop.spawn(echoed, "server", 9000)
            >>> with server.tcp_reflector(9000):
            ...     asyncio.run(main())
            b'hello'
        """
        return Task(self._session.worker(self._kind, self.name).call("loop", function, args, kwargs))

    def logging(self) -> AbstractContextManager[None]:
        """Has what this thread or task logs in the block, and what tasks log that it starts there, belong to the node.

        What functions and coroutines log that run in the node does so anyway; this is for code that stays here and
        uses the node's sockets or programs. Threads that are started in the block do not.

        Examples:
            >>> import logging
            >>> with laptop.logging():
            ...     logging.getLogger("myapp").info("on behalf of the laptop")
        """
        return self._session.code_of(self._kind, self.name)

    async def create_subprocess_exec(
        self,
        *args: str | PathLike[str],
        stdin: int | IO[Any] | None = DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | PathLike[str] | None = None,
    ) -> AsyncProcess:
        """Starts a program in the node for the running loop, as `asyncio.create_subprocess_exec` does.

        Raises CommandNotFound.

        Examples:
            >>> import asyncio
            >>> from patchbay_runner import PIPE
            >>> async def main():
            ...     process = await laptop.create_subprocess_exec("hostname", stdout=PIPE)
            ...     return (await process.communicate())[0]
            >>> asyncio.run(main()).strip()
            b'laptop'
        """
        started = self.popen(args, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
        return await AsyncProcess.of(started)

    def _change(self, change: commands.Change) -> None:
        self._session.client.change(change)


def name_of(node: Node | str) -> str:
    """The name of a node that is given by its handle or its name."""
    return node.name if isinstance(node, Node) else node
