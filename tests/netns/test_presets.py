"""Every preset of a router is the network that it names: families, addresses, translation, and what passes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.presets import PRESETS
from patchbay_runner.model.topology import Device, Interface, Router, Topology

FAMILIES = ("ip", "ip_v6")
PRIVATE = {"ip": ip_network("10.0.0.0/8"), "ip_v6": ip_network("fd10::/48")}
PUBLIC = {"ip": ip_network("198.18.0.0/15"), "ip_v6": ip_network("2001:db8::/32")}

NAMES = list(PRESETS)

# What reaches a server from behind the preset, in every family that there is.
WEB = {("stream", 80), ("stream", 443)}
ALL_TCP = WEB | {("stream", 8080)}
EVERYTHING = ALL_TCP | {("dgram", 53), ("dgram", 3478)}
PASSES = {"corporate": WEB | {("dgram", 53)}, "hotel": ALL_TCP | {("dgram", 53)}}
IS_OPEN_INWARDS = {"public", "public-v4", "isp-cgnat", "cloud"}


def device(name: str, gateway: str) -> Device:
    return Device(name=name, interfaces=(Interface(name="eth0", gateway=gateway),))


class World:
    """A server, and a host behind a router of each preset that has the preset's name."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        routers = [Router(name=f"r-{name}", **msgspec.structs.asdict(PRESETS[name])) for name in NAMES]
        hosts = [device(name, f"r-{name}") for name in NAMES]
        topology = Topology(routers=(Router(name="dc"), *routers), devices=(device("server", "dc"), *hosts))
        self.state = lab.build(topology)

    def address(self, name: str, family: str) -> str | None:
        found: str | None = self.state["devices"][name]["interfaces"][0][family]
        return found

    def families(self, name: str) -> list[str]:
        return [family for family in FAMILIES if self.address(name, family)]

    def socket(self, node: str, family: str, kind: str) -> socket.socket:
        sock = self.lab.socket(node, "inet" if family == "ip" else "inet6", kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return sock

    def reaches(self, node: str, address: str, *, patience_s: float) -> bool:
        return self.lab.run(node, ["ping", "-n", "-c1", f"-W{patience_s}", address], check=False).returncode == 0

    def gets_through(self, name: str, kind: str, port: int, family: str, *, patience_s: float) -> bool:
        """Whether what the host sends to a port of the server gets there and is answered."""
        target = (self.address("server", family), port)
        with self.socket("server", family, kind) as server, self.socket(name, family, kind) as client:
            server.bind(("", port))
            for each in (server, client):
                each.settimeout(patience_s)
            try:
                if kind == "stream":
                    server.listen()
                    client.connect(target)
                    return True
                client.sendto(b"?", target)
                server.sendto(b"!", server.recvfrom(10)[1])
                return client.recv(10) == b"!"
            except TimeoutError:
                return False

    def reflexive(self, name: str, local_port: int, port: int) -> tuple[str, int]:
        """What the server's port sees as the sender of a datagram."""
        with self.socket("server", "ip", "dgram") as server, self.socket(name, "ip", "dgram") as client:
            server.bind(("", port))
            server.settimeout(5)
            client.bind(("", local_port))
            client.sendto(b"?", (self.address("server", "ip"), port))
            seen: tuple[str, int] = server.recvfrom(10)[1]
            return seen


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> Iterator[World]:
    yield World(new_lab())


@pytest.mark.parametrize("name", NAMES)
def test_families_and_addresses_are_the_presets(world: World, name: str) -> None:
    preset = PRESETS[name]
    assert world.families(name) == [
        family
        for family, is_there in zip(FAMILIES, (preset.ip_support.v4, preset.ip_support.v6), strict=True)
        if is_there
    ]
    networks = PRIVATE if preset.pool.value == "private" else PUBLIC
    for family in world.families(name):
        own, server = world.address(name, family), world.address("server", family)
        assert own is not None
        assert server is not None
        assert ip_address(own) in networks[family]
        assert world.reaches(name, server, patience_s=5)


@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_is_what_the_firewall_lets_out(world: World, name: str) -> None:
    passing = PASSES.get(name, EVERYTHING)
    for family in world.families(name):
        for kind, port in sorted(EVERYTHING):
            passes = (kind, port) in passing
            patience_s = 5 if passes else 0.3
            assert world.gets_through(name, kind, port, family, patience_s=patience_s) == passes, (kind, port, family)


@pytest.mark.parametrize("name", [name for name in NAMES if PRESETS[name].ip_support.v6])
def test_what_comes_unasked_is_let_in_or_not(world: World, name: str) -> None:
    address = world.address(name, "ip_v6")
    assert address is not None
    is_open = name in IS_OPEN_INWARDS
    assert world.reaches("server", address, patience_s=5 if is_open else 0.3) == is_open


@pytest.mark.parametrize("name", [name for name in NAMES if PRESETS[name].ip_support.v4])
def test_the_server_sees_what_the_nat_makes_of_a_sender(world: World, name: str) -> None:
    mode = PRESETS[name].nat.mode
    seen, port = world.reflexive(name, 40_000, 53)
    if mode == "none":
        assert (seen, port) == (world.address(name, "ip"), 40_000)
    else:
        assert seen == world.state["routers"][f"r-{name}"]["uplink"]["ip"]
        # A mapping that depends on nothing but the sender keeps its port.
        assert (port == 40_000) == (mode in ("home", "cgnat"))


def test_a_phone_without_ipv4_reaches_a_server_by_it(world: World) -> None:
    assert world.reaches("isp-v6", f"64:ff9b::{world.address('server', 'ip')}", patience_s=5)
