"""Labs carry packets as their topology says: families, routing, multi-homing, link changes, what programs see."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from support.sandbox_inside import inside

from patchbay_runner.errors import CommandNotFound, LabError
from patchbay_runner.kernel.process import wait
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, Router, Topology


def device(name: str, *gateways: str, mtu: int | None = None) -> Device:
    interfaces = tuple(Interface(name=f"eth{i}", gateway=gateway) for i, gateway in enumerate(gateways))
    return Device(name=name, interfaces=interfaces, mtu=mtu)


def ping(lab: LabClient, node: str, address: str, *options: str) -> CompletedProcess[bytes]:
    return lab.run(node, ["ping", "-n", "-c1", "-W2", *options, address], check=False)


def reaches(lab: LabClient, node: str, address: str) -> bool:
    return ping(lab, node, address).returncode == 0


class World:
    """Two public LANs, a double NAT, a router behind a router without NAT, and single-family LANs."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        self.state = lab.build(
            Topology(
                routers=(
                    Router(name="dc"),
                    Router(name="isp", nat=nat_mode("cgnat")),
                    Router(name="home", upstream="isp", nat=nat_mode("home")),
                    Router(name="campus"),
                    Router(name="lab", upstream="campus"),
                    Router(name="bench", upstream="lab"),
                    Router(name="old", ip_support=IpSupport.V4_ONLY),
                    Router(name="new", ip_support=IpSupport.V6_ONLY),
                ),
                devices=(
                    device("server", "dc"),
                    device("peer", "dc"),
                    device("laptop", "home"),
                    device("phone", "isp"),
                    device("deep", "bench"),
                    device("v4", "old"),
                    device("v6", "new"),
                    device("both", "home", "dc"),
                ),
            )
        )

    def address(self, name: str, family: str = "ip", interface: int = 0) -> str:
        found = self.state["devices"][name]["interfaces"][interface][family]
        assert isinstance(found, str)
        return found


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> World:
    return World(new_lab())


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
@pytest.mark.parametrize("source", ["peer", "laptop", "phone", "deep", "both", "campus", "ix"])
def test_everyone_reaches_a_public_server(world: World, source: str, family: str) -> None:
    assert reaches(world.lab, source, world.address("server", family))


def test_a_lan_behind_routers_without_nat_is_reached_from_outside(world: World) -> None:
    for family in ("ip", "ip_v6"):
        assert reaches(world.lab, "server", world.address("deep", family))


def test_ipv6_is_reached_end_to_end_and_ipv4_behind_nat_is_not(world: World) -> None:
    assert reaches(world.lab, "server", world.address("laptop", "ip_v6"))
    assert not reaches(world.lab, "server", world.address("laptop", "ip"))


def test_families_are_those_of_the_router(world: World) -> None:
    assert reaches(world.lab, "v4", world.address("server", "ip"))
    assert not reaches(world.lab, "v4", world.address("server", "ip_v6"))
    assert reaches(world.lab, "v6", world.address("server", "ip_v6"))
    assert not reaches(world.lab, "v6", world.address("server", "ip"))
    inet6 = world.lab.run("v4", ["ip", "-6", "-brief", "address", "show", "dev", "eth0"]).stdout
    assert inet6 == b""


def test_the_gateway_answers_at_every_address_of_its_own(world: World) -> None:
    for key in ("ip", "ip_v6"):
        assert reaches(world.lab, "server", world.state["routers"]["dc"]["downstream"][key])
    link_local = world.state["routers"]["dc"]["downstream"]["ll_v6"]
    assert reaches(world.lab, "server", f"{link_local}%eth0")


def test_hops_are_the_routers_of_the_topology(world: World) -> None:
    # deep -> bench -> lab -> campus -> exchange -> dc -> server: five routers take five from the limit.
    reply = ping(world.lab, "deep", world.address("server"))
    assert b"ttl=59 " in reply.stdout
    assert ping(world.lab, "deep", world.address("server"), "-t5").returncode != 0
    assert ping(world.lab, "deep", world.address("server"), "-t6").returncode == 0


def test_sockets_live_in_their_node_and_serve_any_thread(world: World) -> None:
    server = world.lab.socket("server", "inet", "dgram")
    server.bind(("0.0.0.0", 0))
    client = world.lab.socket("laptop", "inet", "dgram")
    with server, client:
        server.settimeout(5)
        client.settimeout(5)
        client.sendto(b"hello", (world.address("server"), server.getsockname()[1]))
        data, source = server.recvfrom(100)
        assert data == b"hello"
        assert source[0] == world.state["routers"]["isp"]["uplink"]["ip"]
        server.sendto(b"answer", source)
        assert client.recv(100) == b"answer"


def test_programs_see_their_node(world: World) -> None:
    assert world.lab.run("laptop", ["hostname"]).stdout == b"laptop\n"
    assert b"laptop" in world.lab.run("laptop", ["cat", "/etc/hosts"]).stdout
    assert world.lab.run("laptop", ["ls", "/sys/class/net"]).stdout.split() == [b"eth0", b"lo"]
    environment = world.lab.run("laptop", ["env"]).stdout.decode().splitlines()
    assert f"NETSIM_IP_SERVER={world.address('server')}" in environment
    assert f"NETSIM_IP6_SERVER_ETH0={world.address('server', 'ip_v6')}" in environment
    temporary = next(line.partition("=")[2] for line in environment if line.startswith("TMPDIR="))
    world.lab.run("laptop", ["touch", f"{temporary}/mine"])
    assert world.lab.run("server", ["ls", temporary]).stdout == b""


def test_errors_cross_the_control_socket(world: World) -> None:
    with pytest.raises(CommandNotFound, match="no-such-program"):
        world.lab.run("laptop", ["no-such-program"])
    with pytest.raises(LabError, match="no such node"):
        world.lab.run("nobody", ["true"])
    with pytest.raises(LabError, match="no interface 'wlan7'"):
        world.lab.link_down("laptop", "wlan7")
    with pytest.raises(LabError, match="built already"):
        world.lab.build(Topology())


def test_link_down_and_up_keep_both_families_working(lab: LabClient) -> None:
    state = lab.build(
        Topology(
            routers=(Router(name="dc"), Router(name="home", nat=nat_mode("home"))),
            devices=(device("server", "dc"), device("phone", "home", "dc")),
        )
    )
    targets = [state["devices"]["server"]["interfaces"][0][family] for family in ("ip", "ip_v6")]
    before = routes_and_neighbours(lab, "phone")
    for _ in range(3):
        lab.link_down("phone", "eth0")
        assert not any(reaches(lab, "phone", target) for target in ["198.18.0.1", "2001:db8::1"])
        lab.link_up("phone", "eth0")
        assert all(reaches(lab, "phone", target) for target in targets)
    assert routes_and_neighbours(lab, "phone") == before


def test_the_first_packet_after_link_up_arrives(lab: LabClient) -> None:
    state = lab.build(Topology(routers=(Router(name="r"),), devices=(device("a", "r"), device("b", "r"))))
    with lab.socket("b", "inet", "dgram") as receiver, lab.socket("a", "inet", "dgram") as sender:
        receiver.bind(("0.0.0.0", 0))
        receiver.settimeout(5)
        # Of a hundred that do not wait for the kernel, two are lost.
        for number in range(200):
            lab.link_down("a", "eth0")
            lab.link_up("a", "eth0")
            sender.sendto(b"%d" % number, (state["devices"]["b"]["interfaces"][0]["ip"], receiver.getsockname()[1]))
            assert receiver.recv(10) == b"%d" % number


def test_the_default_route_moves_in_both_families(lab: LabClient) -> None:
    state = lab.build(
        Topology(
            routers=(
                Router(name="dc"),
                Router(name="wifi", nat=nat_mode("home")),
                Router(name="cell", nat=nat_mode("cgnat"), ip_support=IpSupport.V4_ONLY),
            ),
            devices=(device("server", "dc"), device("phone", "wifi", "cell")),
        )
    )
    server = state["devices"]["server"]["interfaces"][0]
    seen = lambda: reflexive(lab, "phone", server["ip"])  # noqa: E731 - read thrice, said once
    assert seen() == state["routers"]["wifi"]["uplink"]["ip"]
    assert reaches(lab, "phone", server["ip_v6"])
    lab.set_default_route("phone", "eth1")
    assert seen() == state["routers"]["cell"]["uplink"]["ip"]
    assert not reaches(lab, "phone", server["ip_v6"])
    lab.set_default_route("phone", "eth0")
    assert seen() == state["routers"]["wifi"]["uplink"]["ip"]
    assert reaches(lab, "phone", server["ip_v6"])
    # Towards an interface that is down, the route appears when the interface does.
    lab.link_down("phone", "eth1")
    lab.set_default_route("phone", "eth1")
    assert lab.state()["devices"]["phone"]["default_via"] == "eth1"
    assert not reaches(lab, "phone", server["ip"])
    lab.link_up("phone", "eth1")
    assert seen() == state["routers"]["cell"]["uplink"]["ip"]


def reflexive(lab: LabClient, node: str, server_address: str) -> str:
    """The source address that the server sees of the node's packets."""
    with lab.socket("server", "inet", "dgram") as server, lab.socket(node, "inet", "dgram") as client:
        server.settimeout(5)
        server.bind(("0.0.0.0", 0))
        client.sendto(b"?", (server_address, server.getsockname()[1]))
        address = server.recvfrom(10)[1][0]
        assert isinstance(address, str)
        return address


def routes_and_neighbours(lab: LabClient, node: str) -> list[bytes]:
    commands = (["ip", "route"], ["ip", "-6", "route"], ["ip", "neigh", "show", "nud", "permanent"])
    return [line for argv in commands for line in sorted(lab.run(node, argv).stdout.splitlines())]


@pytest.mark.parametrize(("narrow", "mtu"), [("router", 1420), ("device", 1400)])
@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_a_narrow_link_is_reported_to_the_sender(lab: LabClient, narrow: str, mtu: int, family: str) -> None:
    state = lab.build(
        Topology(
            routers=(Router(name="dc"), Router(name="vpn", mtu=mtu if narrow == "router" else None)),
            devices=(device("server", "dc"), device("client", "vpn", mtu=mtu if narrow == "device" else None)),
        )
    )
    addresses = {name: state["devices"][name]["interfaces"][0][family] for name in ("server", "client")}
    for source, target in (("server", "client"), ("client", "server")):
        # The first packet may be lost to path MTU discovery; what comes back names the MTU, and what fits passes.
        headers = 28 if family == "ip" else 48
        too_big = ping(lab, source, addresses[target], "-M", "do", "-s", str(1500 - headers))
        assert too_big.returncode != 0
        assert re.search(rf"mtu\W+{mtu}\b", (too_big.stdout + too_big.stderr).decode())
        assert ping(lab, source, addresses[target], "-M", "do", "-s", str(mtu - headers)).returncode == 0


def test_raw_and_packet_sockets_work_for_the_caller(world: World) -> None:
    with world.lab.socket("server", "packet", "raw", socket.ntohs(0x0800)) as sniffer:
        sniffer.bind(("eth0", 0))
        sniffer.settimeout(5)
        ping(world.lab, "peer", world.address("server"))
        assert len(sniffer.recv(2000)) >= 98


def test_what_is_not_a_command_is_refused_and_the_next_one_served(zygote: Zygote) -> None:
    with zygote.sandbox("lab") as sandbox:
        sandbox.wait_ready(10)
        for nonsense in (b"J{}", b'J{"command":"dance"}', b"Jnot json", b'J{"command":"socket","node":7}'):
            sandbox.control.send(nonsense)
            reply, _ = commands.receive_reply(sandbox.control)
            assert isinstance(reply, commands.Refused)
            assert "not a command" in reply.message
        client = LabClient(sandbox.control)
        client.build(Topology())
        assert reaches(client, "ix", "198.18.0.1")
        client.close()


def test_a_closed_lab_keeps_no_descriptor() -> None:
    def look(_: SandboxContext) -> tuple[set[str], set[str]]:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

        def descriptors() -> set[str]:
            links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
            return {f"{link.name} {link.readlink()}" for link in links if link.exists()}

        def use_a_lab() -> set[str]:
            lab = Lab.build(Topology(routers=(Router(name="r"),), devices=(device("d", "r"),)))
            for node in ("ix", "r", "d"):
                pid = lab.start(node, ("true",), os.environ, cwd="/", stdout=null, stderr=null)
                assert wait(pid, 10) == 0
            lab.close()
            return descriptors()

        return descriptors(), use_a_lab()

    before, after = inside(look)
    assert after == before
