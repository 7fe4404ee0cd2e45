"""What else a NAT router has to get right: its own traffic, ICMP, IPv6, double NAT, checksums, new rules."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.nat import NAT_TABLE
from patchbay_runner.model.nat import Nat
from tests.netns.support.nat_probes import ARRIVAL_S, Tcp, Udp, accepted_from, seen_by
from tests.netns.support.nat_world import BEHAVIOURS, NAMED, NatWorld, independent

pytestmark = pytest.mark.netns
every_mode = pytest.mark.parametrize("mode", BEHAVIOURS)
every_named_mode = pytest.mark.parametrize("mode", NAMED)

SO_NO_CHECK = 11


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab())


def pings(world: NatWorld, node: str, address: str, *options: str) -> bool:
    return world.lab.run(node, ["ping", "-n", "-c1", "-W2", *options, address], check=False).returncode == 0


@every_named_mode
def test_echo_works_from_inside_from_the_router_and_to_the_router(world: NatWorld, mode: str) -> None:
    alpha = world.address("alpha")
    assert pings(world, f"{mode}-a", alpha)
    assert pings(world, mode, alpha)
    assert pings(world, "alpha", world.wan(mode))
    assert pings(world, f"{mode}-a", world.wan(mode))


@every_named_mode
def test_clients_with_one_echo_identifier_get_their_own_replies(world: NatWorld, mode: str) -> None:
    identifier = world.port()
    clients = [world.lab.socket(f"{mode}-{client}", "inet", "raw", socket.IPPROTO_ICMP) for client in "ab"]
    try:
        for number, client in enumerate(clients):
            client.settimeout(ARRIVAL_S)
            client.sendto(echo_request(identifier, number, b"mine"), (world.address("alpha"), 0))
        for number, client in enumerate(clients):
            kind, _, _, returned, sequence = struct.unpack_from("!BBHHH", client.recv(1024)[20:])
            assert (kind, returned, sequence) == (0, identifier, number)
    finally:
        for client in clients:
            client.close()


@every_named_mode
def test_the_routers_own_sockets_work(world: NatWorld, mode: str) -> None:
    with Udp(world, "alpha") as server, world.lab.socket(mode, "inet", "dgram") as own:
        own.settimeout(ARRIVAL_S)
        own.sendto(b"question", server.address)
        question, source = server.receive()
        assert (question, source[0]) == (b"question", world.wan(mode))
        server.send(source, b"answer")
        assert own.recv(10) == b"answer"


@every_mode
def test_packets_before_a_mapping_do_not_cost_it_its_port(world: NatWorld, mode: str) -> None:
    """Early packets of a peer leave no flow in the router that would take the tuple."""
    with Udp(world, f"{mode}-a") as client, Udp(world, "alpha") as server:
        for _ in range(3):
            server.send((world.wan(mode), client.address[1]))
        listed = world.run(mode, "conntrack", "-L", "-p", "udp", "--orig-src", server.address[0])
        assert f"sport={server.address[1]} " not in listed
        outer = seen_by(server, client)
        if independent(mode):
            assert outer == (world.wan(mode), client.address[1])


@every_mode
def test_nobody_outside_reaches_an_inner_address_by_routing(world: NatWorld, mode: str) -> None:
    """Translation hides addresses; that they are unreachable takes a filter."""
    with Udp(world, f"{mode}-a") as client, world.lab.socket("ix", "inet", "dgram") as intruder:
        world.run("ix", "ip", "route", "replace", client.address[0], "via", world.wan(mode))
        intruder.sendto(b"knock", client.address)
        assert client.drain() == []


@every_named_mode
def test_REQ_12_an_icmp_error_reaches_the_inner_host_and_ends_no_mapping(world: NatWorld, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client, Udp(world, "alpha") as server:
        before = seen_by(server, client)
        client.socket.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
        client.send((server.address[0], 9))
        with pytest.raises(ConnectionRefusedError):
            client.receive()
        assert seen_by(server, client) == before


def test_a_router_on_the_way_is_heard(world: NatWorld) -> None:
    """Time exceeded comes from the NAT itself and from beyond it, as traceroute needs."""
    for hops in (1, 2, 3):
        with Udp(world, "home-a") as client:
            client.socket.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
            client.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, hops)
            client.send((world.address("alpha"), 9))
            with pytest.raises(OSError) as error:
                client.receive()
            assert error.value.errno == errno.EHOSTUNREACH, hops


@every_named_mode
def test_ipv6_passes_untouched_both_ways(world: NatWorld, mode: str) -> None:
    inner, outer = world.address(f"{mode}-a", "ip_v6"), world.address("alpha", "ip_v6")
    with (
        world.lab.socket(f"{mode}-a", "inet6", "dgram") as client,
        world.lab.socket("alpha", "inet6", "dgram") as server,
    ):
        port = world.port()
        for sock, address in ((client, inner), (server, outer)):
            sock.settimeout(ARRIVAL_S)
            sock.bind((address, port))
        # From outside first: there is no mapping to wait for.
        server.sendto(b"in", (inner, port))
        assert client.recvfrom(10)[1][:2] == (outer, port)
        client.sendto(b"out", (outer, port))
        assert server.recvfrom(10)[1][:2] == (inner, port)


@pytest.mark.parametrize(("device", "outermost"), [("nested-a", "cgnat"), ("deep", "home")])
def test_behind_further_routers(world: NatWorld, device: str, outermost: str) -> None:
    """A home behind a carrier's NAT, and a LAN without translation behind a home's."""
    with Udp(world, device) as client, Udp(world, "alpha") as server, Udp(world, "beta") as third:
        outer = seen_by(server, client)
        assert outer == seen_by(third, client) == (world.wan(outermost), client.address[1])
        server.send(outer, b"answer")
        assert client.receive() == (b"answer", server.address)
        with Udp(world, "beta") as stranger:
            stranger.send(outer)
            assert client.drain() == [], "the home filters"
    with Tcp(world, device) as tcp_client, Tcp(world, "alpha") as tcp_server:
        source, end = accepted_from(tcp_server.listen(), tcp_client, tcp_server.address)
        end.close()
        assert source == (world.wan(outermost), tcp_client.address[1])


@pytest.mark.parametrize("mode", ["home", "full-cone", "edm-eif", "corporate"])
def test_datagrams_without_checksum(world: NatWorld, mode: str) -> None:
    """RFC 768: zero means none. Moving the port must not turn it into a wrong one."""
    port = world.port()
    with Udp(world, f"{mode}-a", port) as one, Udp(world, f"{mode}-b", port) as two, Udp(world, "alpha") as server:
        for client in (one, two):
            client.socket.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        # The second client has its port moved, and its second flow looks the moved port up.
        assert seen_by(server, one) != seen_by(server, two)
        with Udp(world, "beta") as other:
            assert seen_by(other, two)[0] == world.wan(mode)


@pytest.mark.parametrize("mode", ["home", "edm-eif"])
def test_many_clashing_endpoints_all_get_ports_of_their_own(world: NatWorld, mode: str) -> None:
    ports = [world.port() for _ in range(100)]
    with Udp(world, "alpha") as server:
        outer = []
        for client in "ab":
            for port in ports:
                with Udp(world, f"{mode}-{client}", port) as sock:
                    outer.append(seen_by(server, sock)[1])
    assert len(set(outer)) == 200


def test_REQ_14_fragments_that_arrive_out_of_order(world: NatWorld) -> None:
    with Udp(world, "home-a") as client, Udp(world, "alpha") as server:
        address, port = seen_by(server, client)
        data = os.urandom(1600)
        datagram = struct.pack("!HHHH", server.address[1], port, 8 + len(data), 0) + data
        with world.lab.socket("alpha", "inet", "raw", socket.IPPROTO_RAW) as raw:
            for start, more in ((800, False), (0, True)):
                end = 800 if more else len(datagram)
                header = ip_header(server.address[0], address, start, more, datagram[start:end])
                raw.sendto(header + datagram[start:end], (address, 0))
        assert client.receive() == (data, server.address)


def test_a_nat_is_replaced_and_taken_away(lab: LabClient) -> None:
    """The new rules take the place of the old in one transaction, as often as wanted."""
    world = NatWorld(lab)

    def moved() -> bool:
        with Udp(world, "home-a") as client, Udp(world, "alpha") as server:
            return seen_by(server, client)[1] != client.address[1]

    assert not moved()
    for mode in ("corporate", "corporate", "full-cone", "edm-eif-hairpin", "home"):
        lab.change(commands.SetNat(router="home", nat=Nat("custom", BEHAVIOURS[mode])))
        assert moved() != independent(mode)
        assert world.run("home", "nft", "list", "tables").split() == ["table", "ip", NAT_TABLE]
    lab.change(commands.SetNat(router="home", nat=Nat()))
    assert world.run("home", "nft", "list", "tables") == ""


def echo_request(identifier: int, sequence: int, data: bytes) -> bytes:
    unsummed = struct.pack("!BBHHH", 8, 0, 0, identifier, sequence) + data
    return unsummed[:2] + struct.pack("!H", internet_checksum(unsummed)) + unsummed[4:]


def ip_header(source: str, target: str, offset: int, more: bool, payload: bytes) -> bytes:
    """An IPv4 header of a UDP fragment; `offset` counts bytes. The kernel fills in the checksum."""
    flags = offset // 8 | (0x2000 if more else 0)
    fields = (0x45, 0, 20 + len(payload), 0x7062, flags, 64, socket.IPPROTO_UDP, 0)
    return struct.pack("!BBHHHBBH4s4s", *fields, socket.inet_aton(source), socket.inet_aton(target))


def internet_checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
