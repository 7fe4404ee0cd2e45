"""A lab whose router `gate` translates for the LAN behind it: phones on one side, IPv4 on the other."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from patchbay_runner.kernel import nftables
from patchbay_runner.kernel.nat64 import CLIENT_POOL, INTERFACE, WELL_KNOWN_PREFIX, Nat64, Nat64Config
from patchbay_runner.kernel.sandbox import Sandbox, SandboxContext, Zygote
from patchbay_runner.lab.addressing import wan_interface
from patchbay_runner.lab.agent import Agent
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.lab.nat import NatPlacement, nat_ruleset
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, Router, Topology

GATE = "gate"


def topology(*, phones: int = 1, wan_mtu: int | None = None, phone_mtu: int | None = None) -> Topology:
    """Phones behind `gate`; `server` behind `dc`, and `far` behind a further router `hop`."""
    names = [f"phone{i}" if i else "phone" for i in range(phones)]
    return Topology(
        routers=(
            Router(name=GATE),
            Router(name="dc", mtu=wan_mtu),
            Router(name="hop", upstream="dc"),
        ),
        devices=(
            *(Device(name=name, interfaces=(Interface(name="eth0", gateway=GATE),), mtu=phone_mtu) for name in names),
            Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),)),
            Device(name="far", interfaces=(Interface(name="eth0", gateway="hop"),)),
        ),
    )


def serve_nat64_lab(context: SandboxContext) -> int:
    """A sandbox entry: its payload is a topology's keywords and those of the translator's configuration."""
    asked = json.loads(context.payload)
    made = topology(**asked["topology"])
    lab = Lab.build(made, LabOptions(open_files=context.open_files))
    config = Nat64Config(**asked["config"])
    router = next(router for router in made.routers if router.name == GATE)
    state = lab.state()
    uplink = state["routers"][GATE]["uplink"]["ip"]
    placement = NatPlacement(wan_interface(router), uplink, INTERFACE, (config.pool,))
    home = nat_mode("full-cone").config
    assert home is not None
    netns = lab._namespaces[GATE]
    nftables.load(netns, nat_ruleset(home, placement), GATE)
    translators = _Translators(netns, config)
    agent = Agent(program_environment(os.environ), LabOptions(open_files=context.open_files), lab)
    questions = socket.socket(fileno=context.fds[0])
    asyncio.run(_serve(agent, context.control, translators, questions))
    return 0


async def _serve(agent: Agent, control: socket.socket, translators: _Translators, questions: socket.socket) -> None:
    asyncio.get_running_loop().add_reader(questions, translators.answer, questions)
    await agent.serve(control)


class _Translators:
    """The router's translator, one after another."""

    def __init__(self, netns: int, config: Nat64Config) -> None:
        self._netns, self._config = netns, config
        self._running = Nat64.start(netns, config, GATE)

    def answer(self, questions: socket.socket) -> None:
        answer: object = None
        match questions.recv(10):
            case b"stop":
                self._running.stop()
            case b"restart":
                self._running.stop()
                self._running = Nat64.start(self._netns, self._config, GATE)
            case b"pid":
                answer = self._running.pid
            case b"counters":
                answer = self._running.counters()
        questions.send(json.dumps(answer).encode())


class Nat64Lab:
    """The lab from outside."""

    def __init__(self, zygote: Zygote, *, mtus: dict[str, int] | None = None, **asked: Any) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        payload = json.dumps({"topology": asked, "config": mtus or {}}).encode()
        with theirs:
            self.sandbox: Sandbox = zygote.sandbox("nat64", payload, (theirs.fileno(),))
        self._questions = ours
        self.sandbox.wait_ready(20)
        self.lab = LabClient(self.sandbox.control)
        self.state = self.lab.state()

    def close(self) -> None:
        self.lab.close()
        self._questions.close()
        self.sandbox.close()

    def ask(self, question: str) -> Any:
        self._questions.settimeout(10)
        self._questions.send(question.encode())
        return json.loads(self._questions.recv(4096))

    def address(self, device: str, family: str = "ip") -> str:
        found = self.state["devices"][device]["interfaces"][0][family]
        assert isinstance(found, str)
        return found

    def behind(self, device: str) -> str:
        """Where phones find a device's IPv4 address."""
        return embedded(self.address(device))


def embedded(v4: str) -> str:
    network: IPv6Network = WELL_KNOWN_PREFIX
    packed = socket.inet_aton(v4)
    return str(network.network_address + int.from_bytes(packed))


POOL: IPv4Network = CLIENT_POOL
