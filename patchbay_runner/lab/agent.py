"""The agent: serves a lab's commands on Unix sockets, beside whatever else runs on the loop."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.errors import KernelError, LabError, PatchbayError
from patchbay_runner.kernel.namespaces import own_namespace
from patchbay_runner.kernel.process import reap, signal_group
from patchbay_runner.kernel.sandbox import SandboxContext
from patchbay_runner.lab import commands
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6, "packet": socket.AF_PACKET}
_KINDS = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM, "raw": socket.SOCK_RAW}

Answer = tuple[commands.Reply, tuple[int, ...]]
_DONE: Answer = (commands.Done(), ())

# The fields of a change are the arguments of what carries it out.
_CHANGES: dict[type[Any], Callable[..., Awaitable[None] | None]] = {
    commands.Extend: Lab.extend,
    commands.RemoveDevice: Lab.remove_device,
    commands.RemoveRouter: Lab.remove_router,
    commands.LinkDown: Lab.link_down,
    commands.LinkUp: Lab.link_up,
    commands.SetDefaultRoute: Lab.set_default_route,
    commands.Replug: Lab.replug,
    commands.AddInterface: Lab.add_interface,
    commands.RemoveInterface: Lab.remove_interface,
    commands.RenewAddress: Lab.renew_address,
    commands.SetLinkCondition: Lab.set_link_condition,
    commands.SetDownlink: Lab.set_downlink,
    commands.SetUplink: Lab.set_uplink,
    commands.SetNat: Lab.set_nat,
    commands.SetNatV6: Lab.set_nat_v6,
    commands.RebootRouter: Lab.reboot_router,
    commands.FlushNat: Lab.flush_nat,
    commands.SetFirewall: Lab.set_firewall,
    commands.BreakRegionLink: Lab.break_region_link,
    commands.RestoreRegionLink: Lab.restore_region_link,
    commands.SetNames: Lab.set_names,
}


def serve_lab(context: SandboxContext) -> int:
    """A sandbox entry: a lab that is built and driven by commands alone.

    A descriptor, if there is one, is a listening socket for those who come later.
    """
    agent = Agent(program_environment(os.environ), LabOptions(open_files=context.open_files))
    asyncio.run(serve_sandbox(agent, context))
    return 0


async def serve_sandbox(agent: Agent, context: SandboxContext) -> None:
    """Serves until the control socket's other end is closed. Raises what a callback of the loop did: a link's end."""
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(agent.serve(context.control))
    defects: list[BaseException] = []

    def stop(_: asyncio.AbstractEventLoop, told: dict[str, Any]) -> None:
        defects.append(told.get("exception") or RuntimeError(told["message"]))
        serving.cancel()

    loop.set_exception_handler(stop)
    listeners = [asyncio.create_task(agent.listen(socket.socket(fileno=fd))) for fd in context.fds]
    try:
        await serving
    except asyncio.CancelledError:
        raise defects[0] from None
    finally:
        for listening in listeners:
            listening.cancel()


class Agent:
    """Serves one lab. `environment` is what programs get before the lab's own variables."""

    def __init__(self, environment: Mapping[str, str], options: LabOptions, lab: Lab | None = None) -> None:
        self.environment = environment
        self._options = options
        self._lab = lab
        # Set by the command of that name.
        self.resumed = asyncio.Event()
        self._built = asyncio.Event()
        if lab is not None:
            self._built.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._handlers: dict[type[Any], Callable[[Any, tuple[int, ...]], Coroutine[Any, Any, Answer]]] = {
            commands.Build: self._build,
            commands.Spawn: self._spawn,
            commands.Wait: self._wait,
            commands.Signal: self._signal,
            commands.Socket: self._socket,
            commands.NodeFile: self._node_file,
            commands.Enter: self._enter,
            commands.Views: self._views,
            commands.Resume: self._resume,
            commands.State: self._state,
            commands.Connect: self._connect,
            **dict.fromkeys(_CHANGES, self._change),
        }

    async def serve(self, connection: socket.socket) -> None:
        """Answers the commands of a connection in order, until its other end is closed."""
        with connection:
            while True:
                await _readable(connection.fileno())
                try:
                    received = commands.receive_command(connection)
                except msgspec.MsgspecError as error:
                    commands.send_message(connection, commands.Refused("LabError", f"not a command: {error}"))
                    continue
                if received is None:
                    return
                command, fds = received
                try:
                    reply, answered = await self._answer(command, fds)
                finally:
                    _close(fds)
                try:
                    commands.send_message(connection, reply, answered)
                except BrokenPipeError:
                    return
                finally:
                    _close(answered)

    async def listen(self, listener: socket.socket) -> None:
        """Serves whoever connects once there is a network, until it is cancelled."""
        with listener:
            await self._built.wait()
            listener.setblocking(False)
            while True:
                await _readable(listener.fileno())
                with suppress(BlockingIOError, ConnectionAbortedError):
                    connection, _ = listener.accept()
                    connection.setblocking(True)
                    self._serve_beside(connection)

    async def _answer(self, command: commands.AnyCommand, fds: tuple[int, ...]) -> Answer:
        try:
            return await self._handlers[type(command)](command, fds)
        except PatchbayError as error:
            errno = error.errno if isinstance(error, KernelError) else 0
            return commands.Refused(type(error).__name__, str(error), errno), ()

    @property
    def lab(self) -> Lab:
        """Raises LabError before the network is built."""
        if self._lab is None:
            raise LabError("no network is built yet")
        return self._lab

    async def _build(self, command: commands.Build, _: tuple[int, ...]) -> Answer:
        if self._lab is not None:
            raise LabError("the network is built already")
        self._lab = Lab.build(command.topology, msgspec.structs.replace(self._options, seed=command.seed))
        await self._lab.begin()
        self._built.set()
        return commands.NodeList(self._lab.state()), ()

    async def _spawn(self, command: commands.Spawn, fds: tuple[int, ...]) -> Answer:
        if len(fds) != 3:
            raise LabError("a program needs three descriptors: standard input, output and error", command.node)
        environment = {**self.environment, **self.lab.variables(), **command.env}
        cwd = command.cwd or str(Path.cwd())
        stdin, stdout, stderr = fds
        pid = self.lab.start(
            command.node, command.argv, environment, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return commands.Started(pid), (os.pidfd_open(pid),)

    async def _wait(self, command: commands.Wait, _: tuple[int, ...]) -> Answer:
        try:
            pidfd = os.pidfd_open(command.pid)
        except ProcessLookupError as error:
            raise LabError(f"there is no process {command.pid}") from error
        try:
            await _readable(pidfd)
            returncode = reap(command.pid)
        except ChildProcessError as error:
            raise LabError(f"process {command.pid} is not a program of this lab, or was waited for before") from error
        finally:
            os.close(pidfd)
        if returncode is None:
            raise LabError(f"process {command.pid} has not ended")
        return commands.Exited(returncode), ()

    async def _signal(self, command: commands.Signal, _: tuple[int, ...]) -> Answer:
        signal_group(command.pid, command.signal)
        return _DONE

    async def _socket(self, command: commands.Socket, _: tuple[int, ...]) -> Answer:
        family = command.family if isinstance(command.family, int) else _FAMILIES[command.family]
        kind = command.kind if isinstance(command.kind, int) else _KINDS[command.kind]
        made = self.lab.socket(command.node, family, kind, command.protocol)
        return commands.Done(), (made.detach(),)

    async def _node_file(self, command: commands.NodeFile, _: tuple[int, ...]) -> Answer:
        return commands.Done(), (self.lab.open_node_file(command.node, command.name),)

    async def _enter(self, command: commands.Enter, _: tuple[int, ...]) -> Answer:
        view = self.lab.view(command.node)
        environment = {**self.lab.variables(), **self.lab.node_environment(command.node)}
        assert view.utsns is not None and view.mntns is not None
        own = [own_namespace(kind) for kind in ("user", "pid", "ipc")]
        return commands.Entered(environment), (*own, *map(os.dup, (view.utsns, view.netns, view.mntns)))

    async def _views(self, _command: commands.Views, _: tuple[int, ...]) -> Answer:
        return commands.ViewList(self.lab.views()), ()

    async def _resume(self, _command: commands.Resume, _: tuple[int, ...]) -> Answer:
        self.resumed.set()
        return _DONE

    async def _change(self, command: commands.Change, _: tuple[int, ...]) -> Answer:
        changing = _CHANGES[type(command)](self.lab, *msgspec.structs.astuple(command))
        if changing is not None:
            await changing
        await self.lab.settled()
        return _DONE

    async def _state(self, _command: commands.State, _: tuple[int, ...]) -> Answer:
        return commands.NodeList(self.lab.state()), ()

    async def _connect(self, _command: commands.Connect, _: tuple[int, ...]) -> Answer:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._serve_beside(ours)
        return commands.Done(), (theirs.detach(),)

    def _serve_beside(self, connection: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(self._serve_guest(connection))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve_guest(self, connection: socket.socket) -> None:
        """A guest's connection may break, and what it sends may be anything: that is not the lab's concern."""
        with suppress(OSError, ValueError):
            await self.serve(connection)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, _set_once, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _close(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
