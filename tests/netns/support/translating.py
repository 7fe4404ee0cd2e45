"""What tests of translated networks ask of a lab: pings, datagrams and what a server sees of a device."""

from __future__ import annotations

import socket
from typing import Any

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.topology import Device, Interface, Topology

ARRIVAL_S = 5.0
# How long something that must not arrive is waited for; what arrives takes a millisecond.
SILENCE_S = 0.1

Endpoint = tuple[str, int]


def device(name: str, *gateways: str) -> Device:
    """A device with an interface `eth0`, `eth1`, … at each gateway."""
    interfaces = tuple(Interface(name=f"eth{i}", gateway=gateway) for i, gateway in enumerate(gateways))
    return Device(name=name, interfaces=interfaces)


class Lan6:
    """A running lab and its addresses."""

    def __init__(self, lab: LabClient, topology: Topology) -> None:
        self.lab = lab
        self.state: dict[str, Any] = lab.build(topology)

    def change(self, change: commands.Change) -> None:
        self.lab.change(change)

    def address(self, name: str, family: str = "ip_v6") -> str:
        """A device's address by its default interface."""
        found = self.lab.state()["devices"][name]["interfaces"][0][family]
        assert isinstance(found, str)
        return found

    def uplink(self, router: str, family: str = "ip_v6") -> str:
        found = self.lab.state()["routers"][router]["uplink"][family]
        assert isinstance(found, str)
        return found

    def outside(self, device: str, router: str) -> str:
        """A device's address outside its own router, which maps prefixes."""
        prefix = self.lab.state()["routers"][router]["downstream"]["mapped_cidr_v6"]
        host = socket.inet_pton(socket.AF_INET6, self.address(device))[8:]
        return socket.inet_ntop(
            socket.AF_INET6, socket.inet_pton(socket.AF_INET6, prefix.removesuffix("/64"))[:8] + host
        )

    def behind(self, device: str) -> str:
        """Where clients of a NAT64 find a device's IPv4 address."""
        return f"64:ff9b::{self.address(device, 'ip')}"

    def pings(self, node: str, to: str, *options: str) -> bool:
        return self.lab.run(node, ["ping", "-n", "-c1", "-W1", *options, to], check=False).returncode == 0

    def udp(self, node: str, address: str = "::", port: int = 0) -> socket.socket:
        """A UDP socket in a node."""
        sock = self.lab.socket(node, "inet6" if ":" in address else "inet", "dgram")
        sock.settimeout(ARRIVAL_S)
        sock.bind((address, port))
        return sock

    def connection(self, client: str, server: str, to: str) -> tuple[socket.socket, socket.socket]:
        """A TCP connection from a device to an address of another; the caller closes both ends."""
        family: commands.Family = "inet6" if ":" in to and not to.startswith("64:ff9b::") else "inet"
        with self.lab.socket(server, family) as listener:
            listener.settimeout(ARRIVAL_S)
            listener.bind(("::" if family == "inet6" else "0.0.0.0", 0))
            listener.listen()
            near = self.lab.socket(client, "inet6" if ":" in to else "inet")
            near.settimeout(ARRIVAL_S)
            near.connect((to, listener.getsockname()[1]))
            far = listener.accept()[0]
            far.settimeout(ARRIVAL_S)
            return near, far

    def seen(self, client: str, server: str = "server", port: int = 0) -> Endpoint:
        """What a server sees of a device's datagram by IPv6."""
        with self.udp(server) as theirs, self.udp(client, port=port) as ours:
            ours.sendto(b"?", (self.address(server), theirs.getsockname()[1]))
            host, source_port = theirs.recvfrom(10)[1][:2]
            return host, source_port


def arrives(sock: socket.socket, wait_s: float = SILENCE_S) -> bool:
    """Whether a datagram comes within the time."""
    sock.settimeout(wait_s)
    try:
        sock.recv(100)
    except TimeoutError:
        return False
    finally:
        sock.settimeout(ARRIVAL_S)
    return True
