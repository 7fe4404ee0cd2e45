"""A lab whose links can be impaired: devices behind one router, a link engine beside the agent, probes to measure."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from patchbay_runner.errors import PatchbayError
from patchbay_runner.kernel.links import LinkEmulator, LinkPort, NetemEngine
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab.agent import Agent
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.model.links import LinkCondition, LinkStatistics
from patchbay_runner.model.topology import Device, Interface, Router, Topology

ROUTER = "router"
# The suite runs once more with "netem" where the kernel has it.
ENGINE = os.environ.get("PATCHBAY_TEST_LINK_ENGINE", "emulator")
# A processor that a program emulates is slow, and stands still when that program does: QEMU's calls itself TCG.
SLOW = "QEMU TCG" in Path("/proc/cpuinfo").read_text()
_ANSWER_BYTES = 1 << 18
SO_TIMESTAMPNS = 64  # with 64-bit times on every machine
UDP_SEGMENT = 103  # linux/udp.h


class Apply(msgspec.Struct, tag=True):
    """`links` are (device, up, down); the device "" is the download of the router's whole LAN."""

    links: list[tuple[str, LinkCondition | None, LinkCondition | None]]


class Ask(msgspec.Struct, tag=True):
    pass


class Forget(msgspec.Struct, tag=True):
    device: str


class Stall(msgspec.Struct, tag=True):
    """Keep the emulator off the processor for a time; for ever when it is 0, by ending it."""

    seconds: float


Command = Apply | Ask | Forget | Stall


class Answer(msgspec.Struct):
    error: str = ""
    statistics: list[LinkStatistics] = []


def serve_links(context: SandboxContext) -> int:
    """A sandbox entry: the lab's commands on the control socket, the engine's on the first descriptor."""
    asyncio.run(_serve(context))
    return 0


async def _serve(context: SandboxContext) -> None:
    agent = Agent(program_environment(os.environ), LabOptions(open_files=context.open_files))
    channel = socket.socket(fileno=context.fds[0])
    seed, kind = context.payload.decode().split()
    engine = LinkEmulator(int(seed)) if kind == "emulator" else NetemEngine(int(seed))
    decoder = msgspec.msgpack.Decoder(Command)

    def on_command() -> None:
        data = channel.recv(_ANSWER_BYTES)
        if not data:
            asyncio.get_running_loop().remove_reader(channel)
            return
        try:
            answer = _carry_out(decoder.decode(data), agent.lab, engine)
        except PatchbayError as error:
            answer = Answer(str(error))
        channel.send(msgspec.msgpack.encode(answer))

    asyncio.get_running_loop().add_reader(channel, on_command)
    await agent.serve(context.control)
    engine.close()


def _carry_out(command: Command, lab: Lab, engine: LinkEmulator | NetemEngine) -> Answer:
    if isinstance(command, Ask):
        return Answer(statistics=engine.statistics())
    if isinstance(command, Forget):
        engine.forget(_port(lab, command.device))
        return Answer()
    if isinstance(command, Stall):
        assert isinstance(engine, LinkEmulator)
        for shard in engine._shards:
            os.kill(shard.pid, signal.SIGSTOP if command.seconds else signal.SIGKILL)
        time.sleep(command.seconds)
        for shard in engine._shards:
            os.kill(shard.pid, signal.SIGCONT)
        return Answer()
    for device, up, down in command.links:
        engine.apply(_port(lab, device), up, down)
    return Answer()


def _port(lab: Lab, device: str) -> LinkPort:
    namespaces, nodes = lab._namespaces, lab._blueprint.nodes
    if not device:
        bridge = nodes[ROUTER].bridges[0]
        return LinkPort(f"{ROUTER}.lan", ROUTER, namespaces[ROUTER], bridge.name, bridge.index)
    interface = nodes[device].interfaces[0]
    cable = interface.cable
    assert cable is not None
    return LinkPort(
        name=f"{device}.{interface.port.interface}",
        node=cable.owner,
        netns=namespaces[cable.owner],
        port=cable.port_name,
        ifindex=cable.port_index,
        far_node=device,
        far_netns=namespaces[device],
        far_interface=interface.port.interface,
        far_ifindex=interface.index,
    )


class LinkWorld:
    """Devices d0, d1, … behind `router`, and `server` behind `dc`."""

    def __init__(self, devices: int = 2, seed: int = 1) -> None:
        self._stack = ExitStack()
        zygote = self._stack.enter_context(Zygote.start({"links": serve_links}))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            sandbox = self._stack.enter_context(
                zygote.sandbox("links", f"{seed} {ENGINE}".encode(), (theirs.fileno(),))
            )
        self._channel = self._stack.enter_context(ours)
        ours.settimeout(60)
        sandbox.wait_ready(60)
        self.lab = LabClient(sandbox.control)
        self._stack.callback(self.lab.close)
        names = [f"d{i}" for i in range(devices)]
        members = [Device(name=name, interfaces=(Interface(name="eth0", gateway=ROUTER),)) for name in names]
        server = Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),))
        routers = (Router(name=ROUTER), Router(name="dc"))
        self.state = self.lab.build(Topology(routers=routers, devices=(*members, server)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def address(self, device: str, family: str = "ip") -> str:
        found = self.state["devices"][device]["interfaces"][0][family]
        assert isinstance(found, str)
        return found

    def apply(self, device: str = "d0", up: LinkCondition | None = None, down: LinkCondition | None = None) -> None:
        self.apply_all([(device, up, down)])

    def apply_all(self, links: Sequence[tuple[str, LinkCondition | None, LinkCondition | None]]) -> None:
        self._ask(Apply(list(links)))

    def statistics(self) -> dict[str, LinkStatistics]:
        return {found.name: found for found in self._ask(Ask()).statistics}

    def forget(self, device: str) -> None:
        self._ask(Forget(device))

    def stall(self, seconds: float) -> None:
        self._ask(Stall(seconds))

    def _ask(self, command: Command) -> Answer:
        self._channel.send(msgspec.msgpack.encode(command))
        answer = msgspec.msgpack.decode(self._channel.recv(_ANSWER_BYTES), type=Answer)
        if answer.error:
            raise PatchbayError(answer.error)
        return answer

    def round_trips_ms(self, device: str, count: int = 100, to: str = "server", family: str = "ip") -> list[float]:
        """Round trips of UDP datagrams, five milliseconds apart, that the other end sends back."""
        kind: Any = "inet6" if family == "ip_v6" else "inet"
        trips: list[float] = []
        with Echo(self, to, family) as echo, self.lab.socket(device, kind, "dgram") as sock:
            sock.settimeout(5)

            def send() -> None:
                for _ in range(count):
                    sock.sendto(struct.pack("=d", time.perf_counter()), echo.address)
                    time.sleep(0.005)

            sender = threading.Thread(target=send)
            sender.start()
            while len(trips) < count:
                (sent_s,) = struct.unpack("=d", sock.recv(64))
                trips.append((time.perf_counter() - sent_s) * 1e3)
            sender.join()
        return trips

    def mean_ms(self, device: str = "d0", count: int = 100, to: str = "server", family: str = "ip") -> float:
        return statistics.fmean(self.round_trips_ms(device, count, to, family))

    def train(
        self,
        count: int,
        *,
        size: int = 22,
        gap_s: float = 0.0,
        source: str = "d0",
        to: str = "server",
        together: int = 1,
    ) -> Train:
        """Sends numbered datagrams of `size` bytes and says which arrived, in their order, and when.

        `together` are handed to the kernel as one, which passes them on uncut as far as it can (UDP_SEGMENT).
        """
        with self.lab.socket(to, "inet", "dgram") as receiver, self.lab.socket(source, "inet", "dgram") as sender:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            receiver.bind((self.address(to), 0))
            collector = Collector(receiver)
            collector.start()
            target = receiver.getsockname()
            if together > 1:
                sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            next_s = time.perf_counter()
            for first in range(0, count, together):
                numbers = range(first, min(first + together, count))
                sender.sendto(b"".join(number.to_bytes(4, "big") + bytes(size - 4) for number in numbers), target)
                next_s += gap_s * together
                # Sleeping is coarse: only when a good part of a millisecond is to be waited for.
                while gap_s and (left_s := next_s - time.perf_counter()) > 0:
                    time.sleep(left_s if left_s > 0.0005 else 0)
            collector.join()
            return Train(collector.numbers, collector.stamps_ns)


class Train(msgspec.Struct):
    """Numbers of datagrams in the order of their arrival, and the kernel's receive times."""

    numbers: list[int]
    stamps_ns: list[int]

    def rate_kbit(self, frame_bytes: int) -> float:
        """Frame bytes a time, from the first arrival to the last."""
        return (len(self.numbers) - 1) * frame_bytes * 8 / ((self.stamps_ns[-1] - self.stamps_ns[0]) / 1e6)

    def losses(self, count: int) -> list[bool]:
        arrived = set(self.numbers)
        return [number not in arrived for number in range(count)]


class Collector(threading.Thread):
    """Reads datagrams until none has come for a while."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self.numbers: list[int] = []
        self.stamps_ns: list[int] = []

    def run(self) -> None:
        self._socket.settimeout(1.0)
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(2048, 64)
            except TimeoutError:
                return
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            self.numbers.append(int.from_bytes(data[:4], "big"))
            self.stamps_ns.append(seconds * 10**9 + nanoseconds)


class Echo:
    """A UDP echo in a device."""

    def __init__(self, world: LinkWorld, device: str, family: str = "ip") -> None:
        self._socket = world.lab.socket(device, "inet6" if family == "ip_v6" else "inet", "dgram")
        self._socket.bind((world.address(device, family), 0))
        self.address: Any = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._socket.sendto(b"stop", self.address)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(2048)
            if data == b"stop":
                return
            self._socket.sendto(data, peer)
