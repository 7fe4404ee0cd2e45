"""Handles of nodes: cheap to copy, valid as long as their lab; a node that is gone answers with LabError."""

from __future__ import annotations

import socket as socket_module
import subprocess
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from ipaddress import IPv4Address, IPv6Address, ip_address
from os import PathLike
from typing import IO, Any, ClassVar, TypeVar

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.library import processes, sockets
from patchbay_runner.library.networks import entered_network
from patchbay_runner.library.origin import callers_line
from patchbay_runner.library.processes import DEVNULL, PIPE, Command, Popen
from patchbay_runner.library.reflectors import Reflector
from patchbay_runner.library.session import Session
from patchbay_runner.library.tasks import AsyncProcess, Task
from patchbay_runner.loader import values
from patchbay_runner.model.links import Direction
from patchbay_runner.model.topology import REBOOT_S

_T = TypeVar("_T")

Condition = str | Mapping[str, object]


class Interface(msgspec.Struct, frozen=True):
    """An interface as it is at a time. Absent families are None; `router` is the node that it leads to."""

    name: str
    ip: IPv4Address | None
    ip6: IPv6Address | None
    link_local: IPv6Address | None
    mac: str
    router: str | None = None
    is_up: bool = True


class Node:
    """What all nodes can: run programs, and hand out sockets that live in their network."""

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
        """By name, as they are now. Raises LabError when the node is gone."""
        raise NotImplementedError

    @property
    def ip(self) -> IPv4Address:
        """The IPv4 address that others reach it by. Raises LabError when it has none."""
        found = self._first_interface().ip
        if found is None:
            raise LabError("it has no IPv4 address", self.name)
        return found

    @property
    def ip6(self) -> IPv6Address:
        """The IPv6 address that others reach it by. Raises LabError when it has none."""
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

        Example::

            laptop.run(["ping", "-c1", str(server.ip)])
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

        Raises CommandNotFound. Example::

            nginx = server.popen(["nginx", "-g", "daemon off;"])
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

        Example::

            with laptop.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.sendto(b"?", (str(server.ip), 9000))
        """
        return sockets.make(self._session.client, self.name, family, type, proto)

    def create_connection(
        self,
        address: tuple[object, int],
        timeout: float | None = None,
        source_address: tuple[object, int] | None = None,
    ) -> socket_module.socket:
        """A TCP connection from the node, as `socket.create_connection` makes one; `address` is a host and a port.

        A host is a node's handle, an address, or a name as the node resolves it. Raises OSError.
        """
        return sockets.create_connection(self, address, timeout, source_address)

    def listen(self, port: int = 0, *, host: object = "0.0.0.0", backlog: int = 128) -> socket_module.socket:
        """A listening TCP socket in the node; `port` 0 takes a free one. Raises OSError."""
        return sockets.listen(self, host, port, backlog)

    def resolve(self, host: object) -> list[IPv4Address | IPv6Address]:
        """What a host stands for in the node: a node's handle, an address, or a name. Raises OSError."""
        return sockets.resolve(self, host)

    def udp_reflector(self, port: int = 0, *, host: object = "0.0.0.0") -> Reflector:
        """A UDP server that sends back what comes; bound when this returns, until it is closed. Raises OSError."""
        return self._session.closed_with_it(Reflector.udp(self, host, port))

    def tcp_reflector(self, port: int = 0, *, host: object = "0.0.0.0") -> Reflector:
        """A TCP server that sends back what comes; bound when this returns, until it is closed. Raises OSError."""
        return self._session.closed_with_it(Reflector.tcp(self, host, port))

    def network(self) -> AbstractContextManager[None]:
        """Within the block, every socket that this thread makes is the node's, whichever library makes it.

        So are the sockets of threads and programs that it starts from then on, asyncio's and thread pools' among them,
        and the C library looks up names as the node does. Sockets that were there before stay where they are. Raises
        HostError where the kernel or a container refuses; a lab that ends meanwhile makes sockets fail (ENETDOWN).

        Example::

            with laptop.network():
                page = httpx.get("http://server/")
        """
        return entered_network(self._session.client, self.name)

    def run_sync(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
        """What `function` returns when it is called in the node: in a worker process there, one call after another.

        The function, what it is given, and what it returns or raises are copies (pickled, by cloudpickle). Raises
        LabError when the worker ends meanwhile. Example::

            port = server.run_sync(lambda: socket.create_server(("", 0)).getsockname()[1])
        """
        found: _T = self._session.worker(self._kind, self.name).call("turn", function, args, kwargs).result()
        return found

    def spawn_thread(self, function: Callable[..., _T], *args: Any, **kwargs: Any) -> Future[_T]:
        """As `run_sync`, but in a thread of its own there, and this returns at once."""
        return self._session.worker(self._kind, self.name).call("thread", function, args, kwargs)

    def spawn(self, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **kwargs: Any) -> Task[_T]:
        """Runs a coroutine function on the node's own event loop, in the worker process that `run_sync` uses.

        The result can be awaited on any loop, and waited for in any thread. Example::

            async def fetch(address):
                reader, writer = await asyncio.open_connection(address, 80)
                ...

            page = await laptop.spawn(fetch, str(server.ip))
        """
        return Task(self._session.worker(self._kind, self.name).call("loop", function, args, kwargs))

    def logging(self) -> AbstractContextManager[None]:
        """Has what this thread or task logs in the block, and what tasks log that it starts there, belong to the node.

        What functions and coroutines log that run in the node does so anyway; this is for code that stays here and
        uses the node's sockets or programs.
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
        """Starts a program in the node for the running loop, as `asyncio.create_subprocess_exec` does."""
        started = self.popen(args, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd)
        return await AsyncProcess.of(started)

    def _change(self, change: commands.Change) -> None:
        self._session.client.change(change)


class Ix(Node):
    """The internet exchange: what all routers without an upstream are connected to."""

    _kind = "ix"

    @property
    def interfaces(self) -> dict[str, Interface]:
        state = self._session.client.state()["ix"]
        return {state["bridge"]: _interface(state["bridge"], state)}


class Router(Node):
    """A router. Its changes return when the kernel has made them."""

    _kind = "router"

    @property
    def interfaces(self) -> dict[str, Interface]:
        """The uplink first, then the LAN."""
        state = self._state()
        found = [state["uplink"]] if state["uplink"] else []
        return {each["interface"]: _interface(each["interface"], each) for each in (*found, state["downstream"])}

    def set_nat(self, nat: str | Mapping[str, object]) -> None:
        """Changes its IPv4 NAT; mappings are forgotten, flows that the kernel tracks go on until `flush_nat`."""
        self._change(commands.SetNat(self.name, values.nat_of(nat, callers_line())))

    def set_nat_v6(self, mode: str) -> None:
        """Changes how it translates IPv6: "none", "nptv6", "masquerade" or "nat64"."""
        self._change(commands.SetNatV6(self.name, values.nat_v6_of(mode, callers_line())))

    def flush_nat(self) -> None:
        """Forgets its mappings and tracked flows."""
        self._change(commands.FlushNat(self.name))

    def set_firewall(self, firewall: str | Mapping[str, object]) -> None:
        """Changes what it lets through; flows that it knows are let through until they end."""
        self._change(commands.SetFirewall(self.name, values.firewall_of(firewall, callers_line())))

    def set_downlink(self, condition: Condition | None) -> None:
        """Impairs what it sends into its LAN; None clears it."""
        self._change(commands.SetDownlink(self.name, values.condition_of(condition, callers_line())))

    def set_uplink(self, condition: Condition | None) -> None:
        """Impairs what it sends to its upstream or the exchange; None clears it."""
        self._change(commands.SetUplink(self.name, values.condition_of(condition, callers_line())))

    def reboot(self, down_for_s: float = REBOOT_S) -> None:
        """Takes it away with all that it has learned; returns when it is back."""
        self._change(commands.RebootRouter(self.name, down_for_s))

    def remove(self) -> None:
        """Takes it away, with the programs in it. Raises LabError while anything is behind it."""
        self._change(commands.RemoveRouter(self.name))

    def _state(self) -> dict[str, Any]:
        return self._session.node_state("routers", self.name)


class Device(Node):
    """A device. Its changes return when the kernel has made them."""

    _kind = "device"

    @property
    def interfaces(self) -> dict[str, Interface]:
        """The one of the default route first."""
        state = self._session.node_state("devices", self.name)
        listed = sorted(state["interfaces"], key=lambda each: each["name"] != state["default_via"])
        return {each["name"]: _interface(each["name"], each) for each in listed}

    def link_down(self, interface: str) -> None:
        """Takes an interface down: nothing is sent or received, and its routes are gone."""
        self._change(commands.LinkDown(self.name, interface))

    def link_up(self, interface: str) -> None:
        """Brings an interface up with its addresses and routes."""
        self._change(commands.LinkUp(self.name, interface))

    def set_link_condition(self, interface: str, condition: Condition | None, direction: Direction = "up") -> None:
        """Impairs a link, None clears it; "up" is what the device sends, "down" what it receives, "both"."""
        found = values.condition_of(condition, callers_line())
        self._change(commands.SetLinkCondition(self.name, interface, found, direction))

    def set_default_route(self, interface: str) -> None:
        """Moves the default routes of both families."""
        self._change(commands.SetDefaultRoute(self.name, interface))

    def replug(self, interface: str, router: Router | str) -> None:
        """Moves an interface to another router's LAN, with new addresses."""
        self._change(commands.Replug(self.name, interface, name_of(router)))

    def add_interface(self, interface: str, router: Router | str) -> None:
        """Plugs a further interface into a router's LAN; the default route stays where it is."""
        self._change(commands.AddInterface(self.name, interface, name_of(router)))

    def remove_interface(self, interface: str) -> None:
        """Takes an interface away; a device keeps at least one."""
        self._change(commands.RemoveInterface(self.name, interface))

    def renew_address(self, interface: str) -> None:
        """Gives an interface new addresses on its LAN, as a renewed lease does."""
        self._change(commands.RenewAddress(self.name, interface))

    def remove(self) -> None:
        """Takes it away, with the programs in it."""
        self._change(commands.RemoveDevice(self.name))


def name_of(node: Node | str) -> str:
    """The name of a node that is given by its handle or its name."""
    return node.name if isinstance(node, Node) else node


def _interface(name: str, state: Mapping[str, Any]) -> Interface:
    ip, ip6, link_local = (ip_address(text) if (text := state[key]) else None for key in ("ip", "ip_v6", "ll_v6"))
    assert not isinstance(ip, IPv6Address) and not isinstance(ip6, IPv4Address)
    assert not isinstance(link_local, IPv4Address)
    return Interface(name, ip, ip6, link_local, state["mac"], state.get("router"), state.get("up", True))
