"""A lab whose router `gate` translates for the LAN behind it: phones on one side, IPv4 on the other."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from patchbay_runner.kernel.nat64 import CLIENT_POOL, WELL_KNOWN_PREFIX
from patchbay_runner.kernel.sandbox import Sandbox, SandboxContext, Zygote
from patchbay_runner.lab.agent import Agent
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.model.topology import Device, Interface, NatV6, Router, Topology

GATE = "gate"


def topology(
    *, phones: int = 1, gate_mtu: int | None = None, wan_mtu: int | None = None, phone_mtu: int | None = None
) -> Topology:
    """Phones behind `gate`; `server` behind `dc`, and `far` behind a further router `hop`."""
    names = [f"phone{i}" if i else "phone" for i in range(phones)]
    return Topology(
        routers=(
            Router(name=GATE, nat_v6=NatV6.NAT64, mtu=gate_mtu),
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
    """A sandbox entry: its payload is a topology's keywords."""
    options = LabOptions(open_files=context.open_files)
    lab = Lab.build(topology(**json.loads(context.payload)), options)
    agent = Agent(program_environment(os.environ), options, lab)
    asyncio.run(_serve(agent, context.control, socket.socket(fileno=context.fds[0])))
    return 0


async def _serve(agent: Agent, control: socket.socket, questions: socket.socket) -> None:
    await agent.lab.begin()
    asyncio.get_running_loop().add_reader(questions, _answer, agent.lab, questions)
    await agent.serve(control)


def _answer(lab: Lab, questions: socket.socket) -> None:
    """What nobody asks of a lab but its tests: which process translates, and what it has counted so far."""
    answers = {
        b"pid": lambda: lab._translators._running[GATE].pid,
        b"counters": lambda: lab._translators.counters()[GATE],
    }
    questions.send(json.dumps(answers[questions.recv(10)]()).encode())


class Nat64Lab:
    """The lab from outside."""

    def __init__(self, zygote: Zygote, **asked: Any) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        payload = json.dumps(asked).encode()
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
