"""MTUs around a NAT64 router: what does not fit is said, or cut, on either side."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from patchbay_runner.kernel.sandbox import Zygote
from tests.netns.support.nat64_lab import GATE, Nat64Lab, serve_nat64_lab
from tests.netns.test_nat64 import ping, serving, udp

IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
IPV6_MTU = 24
NARROW = 1300


@pytest.fixture(scope="module")
def new_world() -> Iterator[Callable[..., Nat64Lab]]:
    with Zygote.start({"nat64": serve_nat64_lab}) as zygote, ExitStack() as stack:

        def make(**asked: object) -> Nat64Lab:
            world = Nat64Lab(zygote, **asked)  # type: ignore[arg-type]
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture(scope="module")
def narrow_uplink(new_world: Callable[..., Nat64Lab]) -> Nat64Lab:
    """A network of 1,300 bytes behind the exchange."""
    return new_world(wan_mtu=NARROW)


@pytest.fixture(scope="module")
def plain(new_world: Callable[..., Nat64Lab]) -> Nat64Lab:
    return new_world()


@pytest.fixture(scope="module")
def narrow_lan(new_world: Callable[..., Nat64Lab]) -> Nat64Lab:
    """A phone of 1,280 bytes."""
    return new_world(phone_mtu=1280)


def test_a_narrow_ipv4_network_is_said_with_the_header_difference(narrow_uplink: Nat64Lab) -> None:
    code, output = ping(narrow_uplink, narrow_uplink.behind("server"), "-s1400", "-Mdo")
    assert code != 0
    assert re.search(rf"[Tt]oo big.*mtu.{NARROW + 20}", output), output
    route = narrow_uplink.lab.run("phone", ["ip", "-6", "route", "get", narrow_uplink.behind("server")]).stdout
    assert b"mtu 1320" in route
    assert ping(narrow_uplink, narrow_uplink.behind("server"), f"-s{NARROW - 28}", "-Mdo")[0] == 0
    assert ping(narrow_uplink, narrow_uplink.behind("server"), f"-s{NARROW - 27}", "-Mdo")[0] != 0


@pytest.mark.parametrize("direction", [(), ("--reverse",)])
def test_tcp_finds_the_narrow_path(narrow_uplink: Nat64Lab, direction: tuple[str, ...]) -> None:
    world = narrow_uplink
    with serving(world, 5201, "iperf3", "--server"):
        command = ["iperf3", "--client", world.behind("server"), "--time", "1", "--json", *direction]
        received = json.loads(world.lab.run("phone", command).stdout)["end"]["sum_received"]
    assert received["bytes"] > 1_000_000


def test_datagrams_pass_a_narrow_path(narrow_uplink: Nat64Lab) -> None:
    world = narrow_uplink
    data = bytes(5000)
    with udp(world, "server", world.address("server")) as server, udp(world, "phone", "::") as phone:
        to = (world.behind("server"), server.getsockname()[1])
        for _ in range(2):  # the first may be lost to the discovery of the path
            phone.sendto(data, to)
        received, source = server.recvfrom(65_536)
        assert received == data
        server.sendto(data, source)
        assert phone.recv(65_536) == data


def test_an_ipv4_host_learns_what_fits_the_lan(plain: Nat64Lab) -> None:
    """1,480 bytes of IPv4 are 1,500 of IPv6."""
    with udp(plain, "server", plain.address("server")) as server, udp(plain, "phone", "::") as phone:
        phone.sendto(b"hello", (plain.behind("server"), server.getsockname()[1]))
        _, source = server.recvfrom(100)
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO)
        server.sendto(bytes(1480 - 28), source)
        assert len(phone.recv(65_536)) == 1480 - 28
        server.sendto(bytes(1480 - 27), source)
        route = plain.lab.run("server", ["ip", "route", "get", source[0]]).stdout
        assert b"mtu 1480" in route
        with pytest.raises(OSError, match="Message too long"):
            server.sendto(bytes(1480 - 27), source)


def test_an_ipv4_host_that_allows_it_is_cut_for_the_lan(plain: Nat64Lab) -> None:
    with udp(plain, "server", plain.address("server")) as server, udp(plain, "phone", "::") as phone:
        phone.sendto(b"hello", (plain.behind("server"), server.getsockname()[1]))
        _, source = server.recvfrom(100)
        server.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        server.sendto(b"z" * 1472, source)
        assert phone.recv(65_536) == b"z" * 1472


def test_a_narrow_lan(narrow_lan: Nat64Lab) -> None:
    world = narrow_lan
    for direction in ((), ("--reverse",)):
        with serving(world, 5201, "iperf3", "--server"):
            command = ["iperf3", "--client", world.behind("server"), "--time", "1", "--json", *direction]
            result = json.loads(world.lab.run("phone", command).stdout)
            assert result["end"]["sum_received"]["bytes"] > 1_000_000
            assert result["start"]["tcp_mss_default"] <= 1220
    assert ping(world, world.behind("server"), "-s4000")[0] == 0


def test_segments_are_clamped_in_the_handshake(new_world: Callable[..., Nat64Lab]) -> None:
    """The server never hears of more than fits the LAN, even where no ICMP error would come back."""
    world = new_world(gate_mtu=1400)
    capture = world.lab.popen(
        "server", ["sh", "-c", "exec tcpdump -Z root -lnvc1 'tcp[13] = 2' >$TMPDIR/syn 2>$TMPDIR/err"]
    )
    world.lab.run("server", ["timeout", "10", "sh", "-c", "until grep -q listening $TMPDIR/err; do sleep 0.02; done"])
    with world.lab.socket("phone", "inet6", "stream") as tcp:
        tcp.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            tcp.connect((world.behind("server"), 9))
    capture.wait()
    seen = world.lab.run("server", ["sh", "-c", "cat $TMPDIR/syn"]).stdout
    assert b"mss 1340" in seen


def test_nothing_of_it_was_dropped(plain: Nat64Lab, narrow_lan: Nat64Lab, narrow_uplink: Nat64Lab) -> None:
    for world in (plain, narrow_lan, narrow_uplink):
        dropped = {name: count for name, count in world.ask("counters").items() if "dropped" in name and count}
        assert dropped == {}
    assert GATE in plain.state["routers"]
