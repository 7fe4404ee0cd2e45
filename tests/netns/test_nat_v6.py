"""NPTv6 and masquerading of IPv6: what the world sees, what gets in, and how translating routers nest."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import IpSupport, NatV6, Router, Topology
from tests.netns.support.translating import ARRIVAL_S, Lan6, arrives, device

HOME = nat_mode("home")
NARROW = 1300


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> Lan6:
    return Lan6(
        new_lab(),
        Topology(
            routers=(
                Router(name="dc"),
                Router(name="narrow", upstream="dc", mtu=NARROW),
                Router(name="home", nat=HOME, nat_v6=NatV6.NPTV6),
                Router(name="sub", upstream="home", nat=HOME, nat_v6=NatV6.NPTV6),
                Router(name="plain", upstream="home"),
                Router(name="office", nat_v6=NatV6.MASQUERADE),
                Router(name="floor", upstream="office", nat_v6=NatV6.MASQUERADE),
                Router(name="room", upstream="office", nat_v6=NatV6.NPTV6),
                Router(name="guarded", nat_v6=NatV6.NPTV6, firewall=firewall_mode("block-inbound")),
                Router(name="pure", ip_support=IpSupport.V6_ONLY, nat_v6=NatV6.NPTV6),
            ),
            devices=(
                device("server", "dc"),
                device("other", "dc"),
                device("far", "narrow"),
                device("laptop", "home"),
                device("tablet", "home"),
                device("inner", "sub"),
                device("deep", "plain"),
                device("clerk", "office"),
                device("caller", "floor"),
                device("guest", "room"),
                device("safe", "guarded"),
                device("lone", "pure"),
            ),
        ),
    )


def test_the_prefixes_are_those_of_the_reference(world: Lan6) -> None:
    """R: number of the router, L: of the LAN, from 1 in the order of the file."""
    assert world.outside("laptop", "home").startswith("3fff:0:3:3::")
    assert world.address("laptop").startswith("fd10:")
    assert world.address("clerk").startswith("fd10:")
    assert world.address("lone").startswith("fd10:")
    assert world.seen("inner")[0] == world.address("inner").replace("fd10:0:0:2:", "3fff:0:3:4:")
    assert world.seen("deep")[0] == world.address("deep").replace("2001:db8:1:3:", "3fff:0:3:5:")


@pytest.mark.parametrize("client", ["laptop", "inner", "deep", "guest", "caller", "clerk", "lone", "safe"])
def test_programs_behind_it_reach_the_world(world: Lan6, client: str) -> None:
    server = world.address("server")
    assert world.pings(client, server)
    near, far = world.connection(client, "server", server)
    with near, far:
        near.sendall(b"asked")
        assert far.recv(10) == b"asked"
        far.sendall(b"answered")
        assert near.recv(10) == b"answered"


@pytest.mark.parametrize(("client", "router"), [("laptop", "home"), ("lone", "pure")])
def test_a_mapped_host_is_known_by_its_outer_address(world: Lan6, client: str, router: str) -> None:
    outside = world.outside(client, router)
    assert world.seen(client, port=4000) == (outside, 4000)
    # New flows from outside: ICMP, UDP and TCP.
    assert world.pings("server", outside)
    with world.udp(client, port=4001) as inner, world.udp("server") as outer:
        outer.sendto(b"new", (outside, 4001))
        data, source = inner.recvfrom(10)
        assert (data, source[0]) == (b"new", world.address("server"))
        inner.sendto(b"back", source)
        data, source = outer.recvfrom(10)
        assert (data, source[:2]) == (b"back", (outside, 4001))
    near, far = world.connection("server", client, outside)
    with near, far:
        assert near.getpeername()[0] == outside
        assert far.getpeername()[0] == world.address("server")


def test_nested_translators_map_each_other(world: Lan6) -> None:
    """Whoever is behind a translating router behind another is reached at the outermost prefix."""
    for client in ("inner", "deep"):
        outside = world.seen(client)[0]
        assert outside not in (world.address(client), world.outside(client, "home"))
        assert world.pings("server", outside)
    assert world.seen("guest")[0] == world.seen("caller")[0] == world.uplink("office")


def test_the_inner_addresses_are_nobody_elses_business(world: Lan6) -> None:
    """No route leads there; and with one that somebody makes, the router drops what comes."""
    inner = world.address("laptop")
    assert not world.pings("server", inner)
    world.lab.run("dc", ["ip", "-6", "route", "add", f"{inner}/128", "via", world.uplink("home")])
    try:
        with world.udp("laptop", port=4002) as laptop, world.udp("server") as server:
            server.sendto(b"x", (inner, 4002))
            assert not arrives(laptop)
            server.sendto(b"x", (world.outside("laptop", "home"), 4002))
            assert arrives(laptop, ARRIVAL_S)
    finally:
        world.lab.run("dc", ["ip", "-6", "route", "del", f"{inner}/128"])


def test_members_meet_at_their_outer_addresses(world: Lan6) -> None:
    outside = world.outside("tablet", "home")
    with world.udp("tablet", port=4003) as tablet, world.udp("laptop") as laptop:
        laptop.sendto(b"hairpin", (outside, 4003))
        _, source = tablet.recvfrom(10)
        assert source[0] == world.outside("laptop", "home")
        tablet.sendto(b"back", source)
        assert laptop.recvfrom(10)[1][:2] == (outside, 4003)


def test_neighbours_are_found_as_ever(world: Lan6) -> None:
    """Neighbour discovery on the uplink and the LAN is not translated: entries that are gone come back."""
    world.lab.run("home", ["ip", "-6", "neigh", "flush", "nud", "all"])
    world.lab.run("laptop", ["ip", "-6", "neigh", "flush", "nud", "all"])
    assert world.pings("laptop", world.address("server"), "-W3")
    assert world.pings("server", world.outside("laptop", "home"), "-W3")
    assert world.pings("home", world.uplink("office"), "-W3")


@pytest.mark.parametrize("client", ["laptop", "inner", "clerk"])
def test_errors_come_back_translated(world: Lan6, client: str) -> None:
    """Packet too big, hop limit exceeded, port unreachable: about the packet that the client has sent."""
    command = ["ping", "-n", "-c1", "-W2", "-s1400", "-Mdo", world.address("far")]
    shown = world.lab.run(client, command, check=False)
    assert re.search(rf"[Tt]oo big.*mtu.{NARROW}", (shown.stdout + shown.stderr).decode())
    shown = world.lab.run(client, ["ping", "-n", "-c1", "-W2", "-t", "3", world.address("far")], check=False)
    assert b"exceeded" in shown.stdout
    with world.udp(client) as sock:
        sock.connect((world.address("server"), 9))
        sock.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(10)


def test_errors_reach_the_world_translated(world: Lan6) -> None:
    with world.udp("server") as server:
        server.connect((world.outside("laptop", "home"), 9))
        server.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            server.recv(10)


def test_a_firewall_looks_at_mapped_packets(world: Lan6) -> None:
    assert world.pings("safe", world.address("server"))
    assert not world.pings("server", world.outside("safe", "guarded"))


@contextmanager
def mapped(world: Lan6, client: str, port: int) -> Iterator[tuple[socket.socket, socket.socket, tuple[str, int]]]:
    """Client, server, and the client's outer endpoint once it has written to the server."""
    with world.udp("server") as server, world.udp(client, port=port) as inner:
        inner.sendto(b"?", (world.address("server"), server.getsockname()[1]))
        yield inner, server, cast("tuple[str, int]", server.recvfrom(10)[1][:2])


@pytest.mark.parametrize("client", ["clerk", "caller"])
def test_a_masquerading_router_lets_replies_in_and_nothing_else(world: Lan6, client: str) -> None:
    with mapped(world, client, 4100) as (inner, server, outer), world.udp("other") as stranger:
        assert outer == (world.uplink("office"), 4100)
        server.sendto(b"reply", outer)
        assert arrives(inner, ARRIVAL_S)
        stranger.sendto(b"x", outer)
        assert not arrives(inner)
        with world.udp("server") as other_port:
            other_port.sendto(b"x", outer)
            assert not arrives(inner)
    assert not world.pings("server", world.address("clerk"))
    assert world.pings("server", world.uplink("office"))


def test_what_comes_too_early_does_not_take_the_port(world: Lan6) -> None:
    with world.udp("server", port=4200) as server, world.udp("clerk", port=4201) as clerk:
        server.sendto(b"early", (world.uplink("office"), 4201))
        assert not arrives(clerk)
        clerk.sendto(b"?", (world.address("server"), 4200))
        assert server.recvfrom(10)[1][1] == 4201
        server.sendto(b"!", (world.uplink("office"), 4201))
        assert arrives(clerk, ARRIVAL_S)


def test_two_clients_of_one_port_are_kept_apart(world: Lan6) -> None:
    with (
        world.udp("server") as server,
        world.udp("clerk", port=4300) as clerk,
        world.udp("caller", port=4300) as caller,
    ):
        outer = []
        for client in (clerk, caller):
            client.sendto(b"?", (world.address("server"), server.getsockname()[1]))
            outer.append(server.recvfrom(10)[1][:2])
        assert outer[0] != outer[1]
        server.sendto(b"second", outer[1])
        assert arrives(caller, ARRIVAL_S)
        assert not arrives(clerk)


def continues(near: socket.socket, far: socket.socket) -> bool:
    near.settimeout(1.5)
    near.sendall(b"more")
    far.settimeout(1.5)
    try:
        return far.recv(10) == b"more"
    except TimeoutError:
        return False


def test_a_mapped_connection_needs_no_state_and_a_masqueraded_one_does(world: Lan6) -> None:
    """`home` also has an IPv4 NAT, whose settings forbid to take up connections in the middle."""
    for client, router, goes_on in (("laptop", "home", True), ("clerk", "office", False)):
        near, far = world.connection(client, "server", world.address("server"))
        with near, far:
            world.change(commands.FlushNat(router))
            assert continues(near, far) is goes_on
            if goes_on:
                far.sendall(b"and back")
                assert near.recv(10) == b"and back"
