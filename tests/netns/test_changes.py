"""Changes of a running network: what is asked for changes, both families go on, and nothing else is disturbed."""

from __future__ import annotations

import socket
import time
from typing import Any

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.commands import Change
from patchbay_runner.model.firewall import Firewall, FirewallConfig, firewall_mode
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, Router, Topology


def device(name: str, *gateways: str) -> Device:
    interfaces = tuple(Interface(name=f"eth{i}", gateway=gateway) for i, gateway in enumerate(gateways))
    return Device(name=name, interfaces=interfaces)


class World:
    """A server, a phone on Wi-Fi, and a cell to go to."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        lab.build(
            Topology(
                routers=(
                    Router(name="dc"),
                    Router(name="wifi", nat=nat_mode("home")),
                    Router(name="cell", nat=nat_mode("cgnat")),
                    Router(name="old", ip_support=IpSupport.V4_ONLY),
                ),
                devices=(device("server", "dc"), device("phone", "wifi"), device("tablet", "wifi")),
            )
        )

    def change(self, change: Change) -> None:
        self.lab.change(change)

    def addresses(self, name: str, interface: str = "eth0") -> dict[str, Any]:
        interfaces = self.lab.state()["devices"][name]["interfaces"]
        found: dict[str, Any] = next(each for each in interfaces if each["name"] == interface)
        return found

    def reaches(self, node: str, address: str, *options: str) -> bool:
        command = ["ping", "-n", "-c1", "-W1", *options, address]
        return self.lab.run(node, command, check=False).returncode == 0

    def is_online(self, name: str = "phone", *options: str) -> bool:
        server = self.addresses("server")
        return all(self.reaches(name, server[family], *options) for family in ("ip", "ip_v6"))

    def reflexive(self, name: str = "phone", port: int = 0) -> tuple[str, int]:
        """What the server sees of a datagram from the device."""
        with self.lab.socket("server", "inet", "dgram") as server, self.lab.socket(name, "inet", "dgram") as client:
            server.settimeout(3)
            server.bind(("0.0.0.0", 0))
            client.bind(("0.0.0.0", port))
            client.sendto(b"?", (self.addresses("server")["ip"], server.getsockname()[1]))
            seen: tuple[str, int] = server.recvfrom(10)[1]
            return seen

    def uplink(self, router: str) -> str:
        address = self.lab.state()["routers"][router]["uplink"]["ip"]
        assert isinstance(address, str)
        return address


@pytest.fixture
def world(lab: LabClient) -> World:
    return World(lab)


def test_replug_moves_a_device_to_another_router(world: World) -> None:
    before = world.addresses("phone")
    assert world.reflexive()[0] == world.uplink("wifi")
    world.change(commands.Replug("phone", "eth0", "cell"))
    after = world.addresses("phone")
    assert world.reflexive()[0] == world.uplink("cell")
    assert world.is_online()
    assert after["router"] == "cell"
    assert after["mac"] == before["mac"]
    assert after["ip"] != before["ip"]
    assert after["ip_v6"] != before["ip_v6"]
    assert world.is_online("tablet")
    # What other nodes are told is the new address, and the old one is nobody's.
    told = world.lab.run("server", ["sh", "-c", "echo $NETSIM_IP_PHONE $NETSIM_IP6_PHONE"]).stdout.decode().split()
    assert told == [after["ip"], after["ip_v6"]]
    assert not world.reaches("tablet", before["ip"])
    assert not world.reaches("server", before["ip_v6"])
    assert world.reaches("server", after["ip_v6"])
    world.change(commands.Replug("phone", "eth0", "wifi"))
    assert world.addresses("phone")["ip"] not in (before["ip"], world.addresses("tablet")["ip"])
    assert world.is_online()


def test_what_a_replugged_device_sends_at_once_arrives(world: World) -> None:
    with world.lab.socket("tablet", "inet", "dgram") as receiver:
        receiver.bind((world.addresses("tablet")["ip"], 7))
        # Longer would let the device ask a second time for the neighbour's hardware address.
        receiver.settimeout(0.9)
        for number in range(40):
            world.change(commands.Replug("phone", "eth0", "cell"))
            world.change(commands.Replug("phone", "eth0", "wifi"))
            with world.lab.socket("phone", "inet", "dgram") as sender:
                sender.sendto(str(number).encode(), receiver.getsockname())
            assert receiver.recv(10) == str(number).encode()


def test_replug_while_the_link_is_down_comes_into_force_when_it_is_up(world: World) -> None:
    world.lab.link_down("phone", "eth0")
    world.change(commands.Replug("phone", "eth0", "cell"))
    assert not world.is_online()
    world.lab.link_up("phone", "eth0")
    assert world.is_online()
    assert world.reflexive()[0] == world.uplink("cell")


def test_replug_to_a_lan_of_one_family_leaves_that_family(world: World) -> None:
    world.change(commands.Replug("phone", "eth0", "old"))
    server = world.addresses("server")
    assert world.addresses("phone")["ip_v6"] is None
    assert world.reaches("phone", server["ip"])
    assert not world.reaches("phone", server["ip_v6"])
    world.change(commands.Replug("phone", "eth0", "wifi"))
    assert world.is_online()


def test_a_renewed_address_keeps_the_default_route(world: World) -> None:
    before = world.addresses("phone")
    for _ in range(3):
        world.change(commands.RenewAddress("phone", "eth0"))
        assert world.is_online()
        assert world.is_online("tablet")
    after = world.addresses("phone")
    assert {before["ip"], before["ip_v6"]}.isdisjoint({after["ip"], after["ip_v6"]})
    assert not world.reaches("tablet", before["ip"])
    assert world.reaches("tablet", after["ip"])
    shown = world.lab.run("phone", ["ip", "-brief", "address", "show", "dev", "eth0"]).stdout.decode()
    assert before["ip"] not in shown
    assert after["ip_v6"] in shown


def test_interfaces_come_and_go(world: World) -> None:
    world.change(commands.AddInterface("phone", "cell0", "cell"))
    assert world.reflexive()[0] == world.uplink("wifi")
    world.lab.set_default_route("phone", "cell0")
    assert world.reflexive()[0] == world.uplink("cell")
    assert world.is_online()
    world.change(commands.RemoveInterface("phone", "cell0"))
    assert world.lab.state()["devices"]["phone"]["default_via"] == "eth0"
    assert world.reflexive()[0] == world.uplink("wifi")
    assert world.is_online()
    for wrong, message in (
        (commands.RemoveInterface("phone", "eth0"), "only interface"),
        (commands.RemoveInterface("phone", "cell0"), "no interface 'cell0'"),
        (commands.AddInterface("phone", "eth0", "cell"), "already"),
        (commands.AddInterface("phone", "eth1", "nowhere"), "not a router"),
        (commands.Replug("phone", "eth0", "server"), "not a router"),
        (commands.Replug("nobody", "eth0", "cell"), "no such device"),
        (commands.SetNat("phone", nat_mode("home")), "no such router"),
    ):
        with pytest.raises(LabError, match=message):
            world.change(wrong)
    assert world.is_online()


def test_a_change_loses_no_packet_of_others(world: World) -> None:
    """A neighbour's stream goes on while a phone beside it is replugged and renewed."""
    target = world.addresses("server")["ip"]
    process = world.lab.popen("tablet", ["ping", "-n", "-q", "-i", "0.01", "-c", "100", "-W1", target])
    for router in ("cell", "wifi", "cell", "wifi"):
        world.change(commands.Replug("phone", "eth0", router))
        world.change(commands.RenewAddress("phone", "eth0"))
        time.sleep(0.1)
    assert process.wait() == 0
    # Any loss makes `ping -c` with a deadline wait; the count says it outright.
    again = world.lab.run("tablet", ["ping", "-n", "-q", "-i", "0.01", "-c", "50", "-W1", target])
    assert b"50 received" in again.stdout


def test_the_nat_mode_changes_and_changes_back(world: World) -> None:
    assert world.reflexive(port=40001) == (world.uplink("wifi"), 40001)
    world.change(commands.SetNat("wifi", nat_mode("corporate")))
    world.change(commands.FlushNat("wifi"))
    ports = {world.reflexive(port=40002)[1] for _ in range(4)}
    assert ports != {40002}
    world.change(commands.SetNat("wifi", nat_mode("none")))
    world.change(commands.FlushNat("wifi"))
    assert world.reflexive(port=40003) == (world.addresses("phone")["ip"], 40003)
    assert world.reaches("server", world.addresses("phone")["ip"])
    world.change(commands.SetNat("wifi", nat_mode("home")))
    world.change(commands.FlushNat("wifi"))
    assert world.reflexive(port=40004) == (world.uplink("wifi"), 40004)
    assert not world.reaches("server", world.addresses("phone")["ip"])
    assert world.lab.state()["routers"]["wifi"]["nat"] == "home"


def test_flushing_forgets_mappings_and_flows(world: World) -> None:
    with world.lab.socket("server", "inet", "dgram") as server, world.lab.socket("phone", "inet", "dgram") as client:
        server.settimeout(1)
        client.settimeout(1)
        server.bind(("0.0.0.0", 0))
        client.sendto(b"?", (world.addresses("server")["ip"], server.getsockname()[1]))
        outside = server.recvfrom(10)[1]
        server.sendto(b"!", outside)
        assert client.recv(10) == b"!"
        world.change(commands.FlushNat("wifi"))
        server.sendto(b"!", outside)
        with pytest.raises(TimeoutError):
            client.recv(10)


def exchange(world: World, kind: str, port: int, family: str = "ip") -> bool:
    """Whether the phone's packet to a port of the server gets there and back."""
    sockets: commands.Family = "inet" if family == "ip" else "inet6"
    any_address = "0.0.0.0" if family == "ip" else "::"
    with world.lab.socket("server", sockets, kind) as server, world.lab.socket("phone", sockets, kind) as client:
        for each in (server, client):
            each.settimeout(0.5)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((any_address, port))
        target = (world.addresses("server")[family], port)
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


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_firewalls_let_through_what_they_say(world: World, family: str) -> None:
    def passing() -> set[tuple[str, int]]:
        probes = [("stream", 80), ("stream", 443), ("stream", 8080), ("dgram", 53), ("dgram", 3478)]
        return {probe for probe in probes if exchange(world, *probe, family)}

    tcp = {("stream", 80), ("stream", 443), ("stream", 8080)}
    everything = tcp | {("dgram", 53), ("dgram", 3478)}
    expected = {
        "corporate": {("stream", 80), ("stream", 443), ("dgram", 53)},
        "captive-portal": tcp | {("dgram", 53)},
        "block-inbound": everything,
        "none": everything,
    }
    for mode, passes in expected.items():
        world.change(commands.SetFirewall("wifi", firewall_mode(mode)))
        assert passing() == passes, mode
        assert world.reaches("phone", world.addresses("server")[family])
    custom = FirewallConfig(allow_tcp=(8080,), allow_udp=())
    world.change(commands.SetFirewall("wifi", Firewall("custom", custom)))
    assert passing() == {("stream", 8080)}


def test_a_firewall_blocks_what_comes_unasked(world: World) -> None:
    phone = world.addresses("phone")["ip_v6"]
    assert world.reaches("server", phone)
    world.change(commands.SetFirewall("wifi", firewall_mode("block-inbound")))
    assert not world.reaches("server", phone)
    assert world.is_online()
    world.change(commands.SetFirewall("wifi", firewall_mode("none")))
    assert world.reaches("server", phone)


def round_trip_ms(world: World, name: str = "phone", count: int = 20) -> float:
    """The quickest of pings from a device to the server: a busy machine is late at times."""
    target = world.addresses("server")["ip"]
    shown = world.lab.run(name, ["ping", "-n", "-q", "-i", "0.02", "-c", str(count), target]).stdout.decode()
    return float(shown.rpartition("= ")[2].split("/")[0])


@pytest.mark.alone
def test_a_link_condition_holds_until_it_is_cleared(world: World) -> None:
    plain = round_trip_ms(world)
    slow = LinkCondition(latency_ms=20)
    world.change(commands.SetLinkCondition("phone", "eth0", slow))
    assert 18 < round_trip_ms(world) - plain < 25
    world.change(commands.SetLinkCondition("phone", "eth0", slow, "both"))
    assert 38 < round_trip_ms(world) - plain < 45
    assert round_trip_ms(world, "tablet") < 5
    # The condition is the interface's: it goes with it to another router.
    world.change(commands.Replug("phone", "eth0", "cell"))
    assert 38 < round_trip_ms(world) - plain < 45
    world.change(commands.RenewAddress("phone", "eth0"))
    assert world.is_online()
    world.change(commands.SetLinkCondition("phone", "eth0", None, "both"))
    assert round_trip_ms(world) < 5
    world.change(commands.SetDownlink("wifi", LinkCondition(latency_ms=20)))
    assert 18 < round_trip_ms(world, "tablet") - plain < 25
    assert round_trip_ms(world) < 5
    world.change(commands.SetDownlink("wifi"))
    assert round_trip_ms(world, "tablet") < 5


def test_a_lan_of_impaired_links_takes_further_interfaces(lab: LabClient) -> None:
    names = [f"d{i}" for i in range(4)]
    lab.build(Topology(routers=(Router(name="r"),), devices=tuple(device(name, "r") for name in names)))
    for name in names:
        lab.change(commands.SetLinkCondition(name, "eth0", LinkCondition(latency_ms=1), "both"))
    for i in range(3):
        lab.change(commands.AddInterface("d0", f"eth{i + 1}", "r"))
    for interface in lab.state()["devices"]["d0"]["interfaces"]:
        lab.run("d1", ["ping", "-n", "-c1", "-W2", interface["ip"]])


def test_a_condition_of_the_topology_is_there_from_the_start(lab: LabClient) -> None:
    impaired = Interface(name="eth0", gateway="home", impair=LinkCondition(latency_ms=20))
    lab.build(
        Topology(
            routers=(Router(name="dc"), Router(name="home", downlink=LinkCondition(latency_ms=10))),
            devices=(device("server", "dc"), Device(name="phone", interfaces=(impaired,))),
        )
    )
    target = lab.state()["devices"]["server"]["interfaces"][0]["ip"]
    shown = lab.run("phone", ["ping", "-n", "-q", "-i", "0.02", "-c", "20", target]).stdout.decode()
    assert 28 < float(shown.rpartition("= ")[2].split("/")[0]) < 36
