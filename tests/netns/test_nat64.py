"""Phones reach IPv4 hosts through a NAT64 router: real programs, real packets, as root and as an ordinary user."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.lab.commands import SetNatV6
from patchbay_runner.model.topology import NatV6
from tests.netns.support.nat64_lab import GATE, Nat64Lab, embedded, serve_nat64_lab

ARRIVAL_S = 5.0
_WAIT = "while ! ss -Hltn 'sport = :{port}' | grep -q .; do sleep 0.02; done"


@pytest.fixture(scope="module")
def new_world() -> Iterator[Callable[..., Nat64Lab]]:
    with Zygote.start({"nat64": serve_nat64_lab}) as zygote, ExitStack() as stack:

        def make(**asked: object) -> Nat64Lab:
            world = Nat64Lab(zygote, **asked)  # type: ignore[arg-type]
            stack.callback(world.close)
            return world

        yield make


@pytest.fixture(scope="module")
def world(new_world: Callable[..., Nat64Lab]) -> Nat64Lab:
    return new_world(phones=2)


@contextmanager
def serving(world: Nat64Lab, port: int, *argv: str, node: str = "server") -> Iterator[None]:
    """A TCP server in a node, from when it listens on `port`."""
    process = world.lab.popen(node, argv)
    try:
        world.lab.run(node, ["timeout", "10", "sh", "-c", _WAIT.format(port=port)])
        yield
    finally:
        process.kill()
        process.wait()


def ping(world: Nat64Lab, to: str, *options: str, node: str = "phone") -> tuple[int, str]:
    done = world.lab.run(node, ["ping", "-n", "-c1", "-W3", *options, to], check=False)
    return done.returncode, (done.stdout + done.stderr).decode()


def udp(world: Nat64Lab, node: str, address: str, port: int = 0) -> socket.socket:
    family = "inet6" if ":" in address else "inet"
    sock = world.lab.socket(node, family, "dgram")  # type: ignore[arg-type]
    sock.settimeout(ARRIVAL_S)
    sock.bind((address, port))
    return sock


def test_a_page_of_an_ipv4_server(world: Nat64Lab, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    page = bytes(range(256)) * 4096
    (tmp_path / "page").write_bytes(page)
    (tmp_path / "page").chmod(0o644)
    server = ["python3", "-m", "http.server", "8000", "--directory", str(tmp_path)]
    with serving(world, 8000, *server):
        got = world.lab.run("phone", ["curl", "-sS", "-m10", f"http://[{world.behind('server')}]:8000/page"])
    assert got.stdout == page


@pytest.mark.parametrize("direction", [(), ("--reverse",)])
def test_bulk_tcp_both_ways(world: Nat64Lab, direction: tuple[str, ...]) -> None:
    with serving(world, 5201, "iperf3", "--server"):
        command = ["iperf3", "--client", world.behind("server"), "--time", "1", "--json", *direction]
        received = json.loads(world.lab.run("phone", command).stdout)["end"]["sum_received"]
    # Unsegmented packets pass whole: without that it would be a tenth of this on any machine.
    assert received["bits_per_second"] > 300e6
    counters = world.ask("counters")
    packets = counters["to_ipv6"] if direction else counters["to_ipv4"]
    assert received["bytes"] / packets > 3000


def test_udp_both_ways_and_what_the_server_sees(world: Nat64Lab) -> None:
    with udp(world, "server", world.address("server")) as server, udp(world, "phone", "::") as phone:
        phone.sendto(b"question", (world.behind("server"), server.getsockname()[1]))
        data, source = server.recvfrom(100)
        assert data == b"question"
        assert source[0] == world.state["routers"][GATE]["uplink"]["ip"]
        server.sendto(b"answer", source)
        data, source = phone.recvfrom(100)
        assert data == b"answer"
        assert source[:2] == (world.behind("server"), server.getsockname()[1])


def test_two_clients_with_the_same_port(world: Nat64Lab) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(udp(world, "server", world.address("server")))
        to = (world.behind("server"), server.getsockname()[1])
        phones = [stack.enter_context(udp(world, node, "::", 4444)) for node in ("phone", "phone1")]
        sources = []
        for number, phone in enumerate(phones):
            phone.sendto(b"from %d" % number, to)
            data, source = server.recvfrom(100)
            assert data == b"from %d" % number
            sources.append(source)
        assert sources[0] != sources[1]
        for number, source in enumerate(sources):
            server.sendto(b"to %d" % number, source)
        assert [phone.recv(100) for phone in phones] == [b"to 0", b"to 1"]


def test_the_mapping_is_that_of_the_routers_nat(world: Nat64Lab) -> None:
    """RFC 6146, section 1: endpoint-independent, and here filtered independently of the endpoint as well."""
    with (
        udp(world, "server", world.address("server")) as server,
        udp(world, "far", world.address("far")) as far,
        udp(world, "phone", "::") as phone,
    ):
        phone.sendto(b"a", (world.behind("server"), server.getsockname()[1]))
        _, first = server.recvfrom(100)
        phone.sendto(b"b", (world.behind("far"), far.getsockname()[1]))
        _, second = far.recvfrom(100)
        assert first == second
        with udp(world, "far", world.address("far")) as stranger:
            stranger.sendto(b"new", first)
            data, source = phone.recvfrom(100)
            assert (data, source[0]) == (b"new", world.behind("far"))


def test_ping_and_the_hops_of_one_router(world: Nat64Lab) -> None:
    code, output = ping(world, world.behind("far"))
    assert code == 0
    # phone <- gate <- dc <- hop <- far: the translating router is one hop like the others.
    assert re.search(r"ttl=61 ", output)


@pytest.mark.parametrize("size", [1, 1452, 1453, 4000, 60_000])
def test_ping_of_any_size(world: Nat64Lab, size: int) -> None:
    code, output = ping(world, world.behind("server"), f"-s{size}")
    assert code == 0, output
    assert f"{size + 8} bytes from {world.behind('server')}" in output


def test_two_clients_with_the_same_echo_identifier(world: Nat64Lab) -> None:
    for node in ("phone", "phone1"):
        code, output = ping(world, world.behind("server"), "-e", "77", node=node)
        assert code == 0, output


def test_routers_on_the_way_are_heard(world: Nat64Lab) -> None:
    """What traceroute sees: each IPv4 router by its address below the prefix, the own router by its own."""
    seen = []
    for hops in range(1, 6):
        code, output = ping(world, world.behind("far"), f"-t{hops}")
        seen.append(re.search(r"[Ff]rom ([0-9a-f:]+)[: ]", output).group(1).rstrip(":"))  # type: ignore[union-attr]
        assert ("Time exceeded" in output) is (hops < 5)
        assert (code == 0) is (hops == 5)
    routers = world.state["routers"]
    assert seen[0] == routers[GATE]["downstream"]["ip_v6"]
    assert seen[1:] == [
        embedded(world.state["ix"]["ip"]),
        embedded(routers["dc"]["uplink"]["ip"]),
        embedded(routers["hop"]["uplink"]["ip"]),
        world.behind("far"),
    ]


def test_a_closed_port_is_refused_at_once(world: Nat64Lab) -> None:
    """TCP by a reset, UDP by an ICMP error that is translated and belongs to the socket."""
    with world.lab.socket("phone", "inet6", "stream") as tcp:
        tcp.settimeout(ARRIVAL_S)
        with pytest.raises(ConnectionRefusedError):
            tcp.connect((world.behind("server"), 9))
    with udp(world, "phone", "::") as phone:
        phone.connect((world.behind("server"), 9))
        phone.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            phone.recv(100)


def test_an_ipv4_host_hears_of_a_closed_port_of_a_client(world: Nat64Lab) -> None:
    with udp(world, "server", world.address("server")) as server:
        with udp(world, "phone", "::") as phone:
            phone.sendto(b"hello", (world.behind("server"), server.getsockname()[1]))
            _, source = server.recvfrom(100)
        server.connect(source)
        server.send(b"too late")
        with pytest.raises(ConnectionRefusedError):
            server.recv(100)


def test_no_route_behind_is_said(world: Nat64Lab) -> None:
    code, output = ping(world, embedded("203.0.113.7"))
    assert code != 0
    assert "Destination unreachable: No route" in output


@pytest.mark.parametrize("size", [1, 1433, 1473, 8000, 65_000])
def test_datagrams_larger_than_a_packet(world: Nat64Lab, size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    with udp(world, "server", world.address("server")) as server, udp(world, "phone", "::") as phone:
        phone.sendto(data, (world.behind("server"), server.getsockname()[1]))
        received, source = server.recvfrom(65_536)
        assert received == data
        server.sendto(data, source)
        assert phone.recv(65_536) == data


def test_hundreds_of_flows_at_once(world: Nat64Lab) -> None:
    server = world.lab.socket("server", "inet", "stream")
    with ExitStack() as stack:
        stack.enter_context(server)
        server.bind((world.address("server"), 0))
        server.listen(512)
        clients = []
        for number in range(300):
            client = stack.enter_context(world.lab.socket("phone" if number % 2 else "phone1", "inet6", "stream"))
            client.setblocking(False)
            client.connect_ex((world.behind("server"), server.getsockname()[1]))
            clients.append(client)
        accepted = []
        server.settimeout(ARRIVAL_S)
        for _ in clients:
            accepted.append(stack.enter_context(server.accept()[0]))
        for number, client in enumerate(clients):
            select.select([], [client], [], ARRIVAL_S)
            client.send(b"%03d" % number)
        for connection in accepted:
            connection.settimeout(ARRIVAL_S)
            connection.sendall(connection.recv(3) * 2)
        for number, client in enumerate(clients):
            select.select([client], [], [], ARRIVAL_S)
            assert client.recv(10) == b"%03d" % number * 2


def test_it_starts_again_and_its_end_takes_the_interface_along(new_world: Callable[..., Nat64Lab]) -> None:
    world = new_world()
    assert ping(world, world.behind("server"))[0] == 0
    for _ in range(3):
        world.lab.change(SetNatV6(GATE, NatV6.NONE))
        world.lab.change(SetNatV6(GATE, NatV6.NAT64))
        assert ping(world, world.behind("server"))[0] == 0
    world.lab.change(SetNatV6(GATE, NatV6.NONE))
    assert b"nat64" not in world.lab.run(GATE, ["ip", "-brief", "link"]).stdout
    assert b"64:ff9b" not in world.lab.run(GATE, ["ip", "-6", "route"]).stdout
    assert ping(world, world.behind("server"), "-W1")[0] != 0


def test_it_ends_when_its_interface_is_taken_away(new_world: Callable[..., Nat64Lab]) -> None:
    """The agent learns of it by the process, and reaps it; a link that is only down may come back."""
    world = new_world()
    state = ["sh", "-c", f"cut -d' ' -f3 /proc/{world.ask('pid')}/stat"]
    world.lab.run(GATE, ["ip", "link", "set", "nat64", "down"])
    world.lab.run(GATE, ["ip", "link", "set", "nat64", "up"])
    time.sleep(0.1)
    assert world.lab.run(GATE, state).stdout in (b"S\n", b"R\n")
    world.lab.run(GATE, ["ip", "link", "delete", "nat64"])
    deadline = time.monotonic() + 5
    while world.lab.run(GATE, state, check=False).returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_agents_descriptors_are_not_kept(world: Nat64Lab) -> None:
    """A pipe that a finished program has closed must not stay open in the translator."""
    count = world.lab.run("phone", ["sh", "-c", f"ls /proc/{world.ask('pid')}/fd | wc -l"]).stdout
    assert int(count) == 4
