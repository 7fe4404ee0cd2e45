"""What one connection asks of labs beyond changing their networks: labs themselves, programs, sockets, paths."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from patchbay_runner import __version__
from patchbay_runner.control import programs, requests
from patchbay_runner.control.labs import HeldLab, Labs
from patchbay_runner.control.network import Answer
from patchbay_runner.control.wire import PROTOCOL, Refusal
from patchbay_runner.errors import LabError
from patchbay_runner.lab.client import LabClient
from patchbay_runner.library.nodes import Node
from patchbay_runner.library.reflectors import Reflector
from patchbay_runner.model.topology import Origin


class WithDescriptors(msgspec.Struct, frozen=True):
    """A result with descriptors beside it, which are closed when it has been sent."""

    result: Answer
    fds: tuple[int, ...]


class Client:
    """One connection's labs: the one that its requests go to, and those that end with it."""

    def __init__(self, labs: Labs) -> None:
        self.labs = labs
        self._lab: HeldLab | None = None
        self._own: list[HeldLab] = []

    async def lab(self) -> HeldLab:
        """The connection's lab, a fresh one if it has none. Raises HostError."""
        if self._lab is None:
            return await self.create(requests.CreateLab())
        return self._lab

    async def create(self, asked: requests.CreateLab) -> HeldLab:
        """See `requests.CreateLab`. Raises LabError when the connection has one."""
        if self._lab is not None:
            raise LabError(f"this connection has the lab {self._lab.id!r}; close_lab ends it")
        self._lab = await self.labs.create(asked)
        if not asked.keep:
            self._own.append(self._lab)
        return self._lab

    async def attach(self, identifier: str) -> HeldLab:
        """See `requests.Attach`. A lab of its own that the connection had goes on to its end."""
        self._lab = await self.labs.find(identifier)
        return self._lab

    async def close_lab(self, asked: requests.CloseLab) -> None:
        """See `requests.CloseLab`."""
        if self._lab is not None:
            lab, self._lab = self._lab, None
            await self.labs.close(lab, asked.outcome)

    async def close(self) -> None:
        """The connection is over."""
        for lab in self._own:
            await self.labs.close(lab, "stopped")


async def hello(_client: Client, asked: requests.Hello, _origin: Origin) -> Answer:
    if asked.protocol not in (None, PROTOCOL):
        raise Refusal("WrongProtocol", f"protocol {asked.protocol} is asked for, this is protocol {PROTOCOL}")
    return {"protocol": PROTOCOL, "patchbay": __version__}


async def create_lab(client: Client, asked: requests.CreateLab, _origin: Origin) -> Answer:
    return _lab_fields(await client.create(asked))


async def attach(client: Client, asked: requests.Attach, _origin: Origin) -> Answer:
    return _lab_fields(await client.attach(asked.lab))


async def close_lab(client: Client, asked: requests.CloseLab, _origin: Origin) -> Answer:
    await client.close_lab(asked)
    return {}


async def labs(client: Client, _asked: requests.Labs, _origin: Origin) -> Answer:
    return {"labs": [_lab_fields(lab) for lab in client.labs]}


def _lab_fields(lab: HeldLab) -> Answer:
    return {"lab": lab.id, "label": lab.label, "outdir": None if lab.outdir is None else str(lab.outdir)}


async def run(client: Client, asked: requests.Run, _origin: Origin) -> Answer:
    lab = await client.lab()
    starting = asyncio.ensure_future(lab.ask(programs.start, asked))
    try:
        # Who goes away meanwhile leaves a program behind that has begun all the same.
        program = await asyncio.shield(starting)
        return await _result(lab, program, asked)
    except asyncio.CancelledError:
        program = await starting
        if not lab.is_closed:
            await lab.call(_kill, program)
        raise
    finally:
        if starting.done() and not starting.cancelled() and starting.exception() is None:
            starting.result().close()


async def _result(lab: HeldLab, program: programs.Program, asked: requests.Run) -> Answer:
    if not await program.ended(asked.timeout_s):
        await lab.call(_kill, program)
        message = f"{asked.argv[0]} has not ended after {asked.timeout_s:g} s, and was killed"
        raise Refusal("Timeout", message, **program.output(asked.encoding))
    return {"returncode": await lab.call(program.remote.wait), **program.output(asked.encoding)}


def _kill(program: programs.Program) -> None:
    program.remote.kill()
    program.remote.wait()


async def spawn(client: Client, asked: requests.Spawn, _origin: Origin) -> Answer:
    lab = await client.lab()
    program = await lab.ask(programs.start, asked)
    lab.programs[program.remote.pid] = program
    return {"pid": program.remote.pid}


async def wait(client: Client, asked: requests.Wait, _origin: Origin) -> Answer:
    lab, program = await _program(client, asked.pid)
    if not await program.ended(asked.timeout_s):
        message = f"process {asked.pid} has not ended after {asked.timeout_s:g} s"
        raise Refusal("Timeout", message, **program.output(asked.encoding))
    return {"returncode": await lab.call(program.remote.wait), **program.output(asked.encoding)}


async def wait_output(client: Client, asked: requests.WaitOutput, _origin: Origin) -> Answer:
    _, program = await _program(client, asked.pid)
    return {"line": await program.wrote(asked)}


async def output(client: Client, asked: requests.Output, _origin: Origin) -> Answer:
    _, program = await _program(client, asked.pid)
    return program.output(asked.encoding)


async def send_signal(client: Client, asked: requests.Signal, _origin: Origin) -> Answer:
    number = programs.signal_number(asked.signal)
    lab, program = await _program(client, asked.pid)
    if not program.has_ended():
        await lab.call(program.remote.send_signal, number)
    return {}


async def kill(client: Client, asked: requests.Kill, origin: Origin) -> Answer:
    return await send_signal(client, requests.Signal(pid=asked.pid, signal="KILL"), origin)


async def _program(client: Client, pid: int) -> tuple[HeldLab, programs.Program]:
    lab = await client.lab()
    if pid not in lab.programs:
        raise LabError(f"no program with the pid {pid} was spawned in this lab")
    return lab, lab.programs[pid]


async def udp_reflector(client: Client, asked: requests.UdpReflector, _origin: Origin) -> Answer:
    lab = await client.lab()
    made = await lab.call(Node(lab.session, asked.node).udp_reflector, asked.port, host=asked.host)
    return _reflecting(lab, made)


async def tcp_reflector(client: Client, asked: requests.TcpReflector, _origin: Origin) -> Answer:
    lab = await client.lab()
    made = await lab.call(Node(lab.session, asked.node).tcp_reflector, asked.port, host=asked.host)
    return _reflecting(lab, made)


def _reflecting(lab: HeldLab, reflector: Reflector) -> Answer:
    number = len(lab.reflectors) + 1
    lab.reflectors[number] = reflector
    return {"reflector": number, "host": reflector.address[0], "port": reflector.port}


async def close_reflector(client: Client, asked: requests.CloseReflector, _origin: Origin) -> Answer:
    lab = await client.lab()
    if asked.reflector not in lab.reflectors:
        raise LabError(f"there is no reflector {asked.reflector}")
    await lab.call(lab.reflectors[asked.reflector].close)
    return {}


async def resolve(client: Client, asked: requests.Resolve, _origin: Origin) -> Answer:
    lab = await client.lab()
    return {"addresses": list(map(str, await lab.call(Node(lab.session, asked.node).resolve, asked.name)))}


async def netns(client: Client, asked: requests.Netns, _origin: Origin) -> Answer:
    lab = await client.lab()

    def path(agent: LabClient) -> str:
        place, _ = agent.enter(asked.node)
        try:
            return str(lab.paths.of(asked.node, place.net))
        finally:
            _close(msgspec.structs.astuple(place))

    return {"path": await lab.ask(path)}


async def socket(client: Client, asked: requests.Socket, _origin: Origin) -> WithDescriptors:
    lab = await client.lab()
    made = await lab.ask(LabClient.socket, asked.node, asked.family, asked.type, asked.protocol)
    return WithDescriptors({}, (made.detach(),))


async def enter(client: Client, asked: requests.Enter, _origin: Origin) -> WithDescriptors:
    lab = await client.lab()
    place, env = await lab.ask(LabClient.enter, asked.node)
    return WithDescriptors({"env": env}, msgspec.structs.astuple(place))


def _close(fds: Sequence[Any]) -> None:
    for fd in fds:
        os.close(fd)


HANDLERS: Mapping[str, Callable[[Client, Any, Origin], Awaitable[Answer | WithDescriptors]]] = {
    "hello": hello,
    "create_lab": create_lab,
    "attach": attach,
    "close_lab": close_lab,
    "labs": labs,
    "run": run,
    "spawn": spawn,
    "wait": wait,
    "wait_output": wait_output,
    "output": output,
    "kill": kill,
    "udp_reflector": udp_reflector,
    "tcp_reflector": tcp_reflector,
    "close_reflector": close_reflector,
    "resolve": resolve,
    "netns": netns,
    "socket": socket,
    "enter": enter,
    "signal": send_signal,
}
