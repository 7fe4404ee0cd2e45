"""TCP through every NAT behaviour, named after the requirements of RFC 5382."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import Filtering
from tests.netns.support.nat_probes import Endpoint, Tcp, accepted_from, outcome
from tests.netns.support.nat_world import BEHAVIOURS, NatWorld, independent, keeps_tables

pytestmark = pytest.mark.netns
every_mode = pytest.mark.parametrize("mode", BEHAVIOURS)


class Server:
    """A listening port of an outside host."""

    def __init__(self, world: NatWorld, host: str, stack: ExitStack) -> None:
        self.port = stack.enter_context(Tcp(world, host))
        self.address = self.port.address
        self.listener = self.port.listen()
        self.ends: list[socket.socket] = []
        stack.callback(lambda: [end.close() for end in self.ends])

    def sees(self, client: Tcp) -> Endpoint:
        """Where a new connection of `client` comes from. It stays open."""
        source, end = accepted_from(self.listener, client, self.address)
        self.ends.append(end)
        return source


class Outside:
    """Two hosts, one of which listens on two ports."""

    def __init__(self, world: NatWorld, stack: ExitStack) -> None:
        self.first = Server(world, "alpha", stack)
        self.other_port = Server(world, "alpha", stack)
        self.other_host = Server(world, "beta", stack)
        self.all = (self.first, self.other_port, self.other_host)


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab())


@pytest.fixture
def outside(world: NatWorld) -> Iterator[Outside]:
    with ExitStack() as stack:
        yield Outside(world, stack)


def outer_ports(world: NatWorld, outside: Outside, client: Tcp, mode: str) -> list[int]:
    """The outer port of a connection to each of three destinations."""
    seen = [server.sees(client) for server in outside.all]
    assert {address for address, _ in seen} == {world.wan(mode)}
    return [port for _, port in seen]


@every_mode
def test_REQ_1_mapping(world: NatWorld, outside: Outside, mode: str) -> None:
    with Tcp(world, f"{mode}-a") as client:
        ports = outer_ports(world, outside, client, mode)
    if independent(mode):
        assert set(ports) == {client.address[1]}, "one mapping, and the port was free"
    elif len(set(ports)) < len(ports):
        # Random ports may meet; not twice.
        with Tcp(world, f"{mode}-a") as client:
            assert len(set(outer_ports(world, outside, client, mode))) == len(ports)


@every_mode
def test_REQ_7_clients_with_one_source_port_do_not_share_an_outer_port(
    world: NatWorld, outside: Outside, mode: str
) -> None:
    port = world.port()
    with Tcp(world, f"{mode}-a", port) as one, Tcp(world, f"{mode}-b", port) as two:
        # Their first connections go to different hosts: towards one and the same, every NAT has to tell them apart.
        ports = {outside.first.sees(one)[1]}, {outside.other_host.sees(two)[1]}
        outer = outside.other_port.sees(one)[1], outside.other_port.sees(two)[1]
    assert outer[0] != outer[1]
    for known, port_towards_both in zip(ports, outer, strict=True):
        known.add(port_towards_both)
    assert not keeps_tables(mode) or not ports[0] & ports[1]
    if independent(mode):
        assert ports[0] == {port}
        assert len(ports[1]) == 1


@every_mode
def test_REQ_3_filtering_and_REQ_4_silence(world: NatWorld, outside: Outside, mode: str) -> None:
    config = BEHAVIOURS[mode]
    with (
        Tcp(world, f"{mode}-a") as client,
        Tcp(world, "alpha") as other_port,
        Tcp(world, "beta") as other_host,
    ):
        outer = outside.first.sees(client)
        listener = client.listen()
        attempts = [other_port.start(outer), other_host.start(outer)]
        outcomes = [outcome(attempt) for attempt in attempts]
        sources = set()
        for _ in range(outcomes.count("open")):
            end, source = listener.accept()
            end.close()
            sources.add(source)
    let_in = {
        Filtering.ENDPOINT_INDEPENDENT: {other_port.address, other_host.address},
        Filtering.ADDRESS_DEPENDENT: {other_port.address},
        Filtering.ADDRESS_AND_PORT_DEPENDENT: set(),
    }[config.filtering]
    assert outcomes == ["open" if who.address in let_in else "silent" for who in (other_port, other_host)]
    assert sources == let_in


@every_mode
def test_REQ_4_no_answer_without_a_mapping(world: NatWorld, mode: str) -> None:
    with Tcp(world, "alpha") as stranger:
        assert outcome(stranger.start((world.wan(mode), world.port()))) == "silent"


@every_mode
def test_REQ_8_hairpinning(world: NatWorld, outside: Outside, mode: str) -> None:
    config = BEHAVIOURS[mode]
    with Tcp(world, f"{mode}-a") as one, Tcp(world, f"{mode}-b") as two:
        outer_one, outer_two = outside.first.sees(one), outside.first.sees(two)
        listener = two.listen()
        attempt = one.start(outer_two)
        result = outcome(attempt)
        if not config.hairpin:
            assert result == ("silent" if keeps_tables(mode) else "refused")
        elif config.filtering is not Filtering.ENDPOINT_INDEPENDENT:
            assert result == "silent"
        else:
            end, source = listener.accept()
            end.close()
            assert source[0] == world.wan(mode)
            assert (source == outer_one) == independent(mode)


@pytest.mark.parametrize("mode", ["eim-adf-hairpin", "eim-apdf-hairpin"])
def test_REQ_8_hairpinned_simultaneous_open(world: NatWorld, outside: Outside, mode: str) -> None:
    with Tcp(world, f"{mode}-a") as one, Tcp(world, f"{mode}-b") as two:
        outer_one, outer_two = outside.first.sees(one), outside.first.sees(two)
        attempts = one.start(outer_two), two.start(outer_one)
        assert [outcome(attempt, 3) for attempt in attempts] == ["open", "open"]
        attempts[0].sendall(b"hello")
        assert (attempts[1].recv(5), attempts[1].getpeername()) == (b"hello", outer_one)


@every_mode
def test_data_flows_both_ways(world: NatWorld, outside: Outside, mode: str) -> None:
    data = bytes(range(256)) * 200
    with Tcp(world, f"{mode}-a") as client:
        near = client.connect(outside.first.address)
        far, _ = outside.first.listener.accept()
        with far:
            for source, sink in ((near, far), (far, near)):
                source.sendall(data)
                received = b""
                while len(received) < len(data):
                    received += sink.recv(1 << 16)
                assert received == data
