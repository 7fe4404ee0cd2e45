"""Routers that are NAT64s, as topologies ask for them: beside IPv4, behind other NATs, with NATs of every kind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import IpSupport, NatV6, Router, Topology
from tests.netns.support.translating import ARRIVAL_S, Lan6, arrives, device

V6_ONLY = IpSupport.V6_ONLY


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> Lan6:
    """`server` and `other` have IPv4 alone."""
    return Lan6(
        new_lab(),
        Topology(
            routers=(
                Router(name="dc", ip_support=IpSupport.V4_ONLY),
                Router(name="cell", ip_support=V6_ONLY, nat_v6=NatV6.NAT64),
                Router(name="hotspot", upstream="cell", ip_support=V6_ONLY),
                Router(name="strict", ip_support=V6_ONLY, nat=nat_mode("home"), nat_v6=NatV6.NAT64),
                Router(name="campus", nat_v6=NatV6.NAT64),
                Router(name="flat", nat=nat_mode("full-cone"), nat_v6=NatV6.NAT64),
                Router(name="carrier", nat=nat_mode("cgnat")),
                Router(name="mifi", upstream="carrier", ip_support=V6_ONLY, nat_v6=NatV6.NAT64),
                Router(name="isp", ip_support=V6_ONLY, nat_v6=NatV6.NAT64, firewall=firewall_mode("block-inbound")),
            ),
            devices=(
                device("server", "dc"),
                device("other", "dc"),
                device("phone", "cell"),
                device("watch", "cell"),
                device("tethered", "hotspot"),
                device("guarded", "strict"),
                device("student", "campus"),
                device("flatmate", "flat"),
                device("traveller", "mifi"),
                device("subscriber", "isp"),
            ),
        ),
    )


CLIENTS = {
    "phone": "cell",
    "tethered": "cell",
    "guarded": "strict",
    "student": "campus",
    "flatmate": "flat",
    "traveller": "carrier",
    "subscriber": "isp",
}


@pytest.mark.parametrize(("client", "router"), CLIENTS.items())
def test_an_ipv4_server_is_reached_from_the_routers_address(world: Lan6, client: str, router: str) -> None:
    assert world.pings(client, world.behind("server"))
    near, far = world.connection(client, "server", world.behind("server"))
    with near, far:
        assert far.getpeername()[0] == world.uplink(router, "ip")
        near.sendall(b"asked")
        assert far.recv(10) == b"asked"
        far.sendall(b"answered")
        assert near.recv(10) == b"answered"


def inward(world: Lan6, client: str) -> tuple[bool, bool]:
    """Whether a stranger, and the host that was written to, get a datagram to a client of the NAT64."""
    with world.udp("server", "0.0.0.0") as server, world.udp("other", "0.0.0.0") as stranger, world.udp(client) as ours:
        ours.sendto(b"?", (world.behind("server"), server.getsockname()[1]))
        outer = server.recvfrom(10)[1]
        stranger.sendto(b"x", outer)
        is_open = arrives(ours)
        server.sendto(b"!", outer)
        return is_open, arrives(ours, ARRIVAL_S)


@pytest.mark.parametrize(
    ("client", "is_open"),
    [("phone", True), ("student", True), ("flatmate", True), ("guarded", False), ("subscriber", False)],
)
def test_who_gets_in_is_the_business_of_the_nat(world: Lan6, client: str, is_open: bool) -> None:
    """Endpoint-independent filtering where no `nat` says otherwise (RFC 6146, section 1), and the firewall's word."""
    assert inward(world, client) == (is_open, True)


def test_only_the_nat64_is_a_nat_where_the_router_translates_no_ipv4(world: Lan6) -> None:
    student = world.address("student", "ip")
    assert world.pings("student", world.address("server", "ip"))
    assert world.pings("server", student)
    near, far = world.connection("server", "student", student)
    with near, far:
        assert far.getpeername()[0] == world.address("server", "ip")
        # What conntrack would call invalid, since it has forgotten the connection, is none of the NAT's business.
        world.change(commands.FlushNat("campus"))
        near.sendall(b"more")
        assert far.recv(10) == b"more"


def test_clients_of_a_nat64_meet_at_their_outer_addresses(world: Lan6) -> None:
    """Hairpinning (RFC 6146, section 3.8), and between a NAT64's client and a host of the IPv4 LAN."""
    with world.udp("server", "0.0.0.0") as server, world.udp("phone") as phone, world.udp("watch") as watch:
        for sock in (phone, watch):
            sock.sendto(b"?", (world.behind("server"), server.getsockname()[1]))
        outer = [server.recvfrom(10)[1] for _ in range(2)]
        phone.sendto(b"hairpin", (f"64:ff9b::{outer[1][0]}", outer[1][1]))
        data, source = watch.recvfrom(10)
        assert (data, source[1]) == (b"hairpin", outer[0][1])
    with world.udp("server", "0.0.0.0") as server, world.udp("flatmate", "0.0.0.0") as v4, world.udp("flatmate") as v6:
        v4.sendto(b"?", (world.address("server", "ip"), server.getsockname()[1]))
        outer4 = server.recvfrom(10)[1]
        v6.sendto(b"hairpin", (f"64:ff9b::{outer4[0]}", outer4[1]))
        assert v4.recvfrom(10)[1][0] == world.uplink("flat", "ip")


def test_the_prefix_is_known_inside_the_router_only(world: Lan6) -> None:
    shown = {node: world.lab.run(node, ["ip", "-6", "route"]).stdout for node in ("cell", "hotspot", "ix", "carrier")}
    assert [node for node, routes in shown.items() if b"64:ff9b::/96" in routes] == ["cell"]
    assert not world.pings("flat", f"64:ff9b::{world.address('server', 'ip')}", "-I", world.uplink("strict"))
    assert b"240.0.0" not in world.lab.run("ix", ["ip", "route"]).stdout


def test_ipv6_hosts_are_reached_as_they_are(world: Lan6) -> None:
    assert world.pings("phone", world.address("student"))
    assert world.pings("student", world.address("phone"))
    assert world.pings("student", world.address("tethered"))
    assert not world.pings("student", world.address("subscriber"))


def test_without_ipv4_above_there_is_no_nat64(lab: LabClient) -> None:
    routers = (
        Router(name="carrier", ip_support=V6_ONLY),
        Router(name="mifi", upstream="carrier", ip_support=V6_ONLY, nat_v6=NatV6.NAT64),
    )
    with pytest.raises(LabError, match="mifi: NAT64 needs an uplink with IPv4"):
        lab.build(Topology(routers=routers, devices=(device("phone", "mifi"),)))


def test_it_cannot_be_asked_for_later_either(lab: LabClient) -> None:
    routers = (Router(name="carrier", ip_support=V6_ONLY), Router(name="mifi", upstream="carrier"))
    lab.build(Topology(routers=routers, devices=(device("phone", "mifi"),)))
    with pytest.raises(LabError, match="mifi: NAT64 needs an uplink with IPv4"):
        lab.change(commands.SetNatV6("mifi", NatV6.NAT64))
    assert lab.state()["routers"]["mifi"]["nat_v6"] == "none"
