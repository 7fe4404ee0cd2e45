"""A lab whose routers answer DNS, inside a sandbox, on the loop of its agent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from support.ra_world import until
from support.sandbox_inside import Ended, inside, program_environment

from patchbay_runner.kernel import process
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, NatV6, Router, Topology

T = TypeVar("T")
_GATEWAYS = ("ip", "ip_v6")


def device(name: str, *gateways: str) -> Device:
    interfaces = tuple(Interface(name=f"eth{i}", gateway=gateway) for i, gateway in enumerate(gateways))
    return Device(name=name, interfaces=interfaces)


# A dual-stack server, one of IPv4 only, a NATed laptop, and a phone without IPv4 behind a NAT64.
TOPOLOGY = Topology(
    routers=(
        Router(name="dc"),
        Router(name="legacy", ip_support=IpSupport.V4_ONLY),
        Router(name="home", nat=nat_mode("home")),
        Router(name="carrier", ip_support=IpSupport.V6_ONLY, nat_v6=NatV6.NAT64),
    ),
    devices=(
        device("server", "dc"),
        device("old", "legacy"),
        device("laptop", "home"),
        device("tablet", "home"),
        device("phone", "carrier"),
    ),
)


class World:
    """A built lab with these names beside its own. `failures` are the events of names that could not be answered."""

    def __init__(self, names: Sequence[NameRecord] = (), topology: Topology = TOPOLOGY) -> None:
        self.failures: list[dict[str, Any]] = []
        topology = msgspec.structs.replace(topology, names=tuple(names))
        self.lab = Lab.build(topology, LabOptions(emit=self._emit))
        self.state = self.lab.state()

    def _emit(self, kind: str, /, **fields: Any) -> None:
        if kind in ("dns_failed", "name_server_replaced"):
            self.failures.append({"kind": kind, **fields})

    def nameservers(self, node: str) -> list[str]:
        """The gateways of a device's first interface."""
        gateway = self.state["devices"][node]["interfaces"][0]["router"]
        downstream = self.state["routers"][gateway]["downstream"]
        return [downstream[key] for key in _GATEWAYS if downstream[key]]

    def address(self, node: str, family: str = "ip") -> str:
        return str(self.state["devices"][node]["interfaces"][0][family])

    def start(self, node: str, *argv: str, output: int | None = None) -> int:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            out = null if output is None else output
            return self.lab.start(node, argv, program_environment(), cwd="/", stdout=out, stderr=out)
        finally:
            os.close(null)

    async def run(self, node: str, *argv: str, timeout_s: float = 20) -> Ended:
        """Runs a program in a node while the loop answers."""
        with os.fdopen(os.memfd_create("output"), "r+", errors="replace") as output:
            pid = self.start(node, *argv, output=output.fileno())
            codes: list[int] = []

            def ended() -> bool:
                code = process.reap(pid)
                codes.extend([] if code is None else [code])
                return bool(codes)

            try:
                await until(ended, timeout_s)
            finally:
                if not codes:
                    process.signal_group(pid, 9)
                    process.wait(pid)
            output.seek(0)
            return Ended(codes[0], output.read())

    async def said(self, node: str, *argv: str) -> str:
        """What a program prints that is to succeed."""
        ended = await self.run(node, *argv)
        assert ended.code == 0, (argv, ended)
        return ended.output.strip()

    @contextmanager
    def running(self, node: str, *argv: str) -> Iterator[None]:
        """A program that runs meanwhile."""
        pid = self.start(node, *argv)
        try:
            yield
        finally:
            process.signal_group(pid, 9)
            process.wait(pid)


def on_loop(body: Callable[[], Coroutine[Any, Any, T]], timeout_s: float = 60) -> T:
    """What `body` returns as the agent of a sandbox, on a loop."""
    return inside(lambda _: asyncio.run(body()), timeout_s=timeout_s)
