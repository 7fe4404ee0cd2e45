"""UDP through every NAT behaviour, named after the requirements of RFC 4787."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import Filtering
from tests.netns.support.nat_probes import Udp, seen_by
from tests.netns.support.nat_world import BEHAVIOURS, NatWorld, independent, keeps_tables

pytestmark = pytest.mark.netns
every_mode = pytest.mark.parametrize("mode", BEHAVIOURS)


class Outside:
    """Two hosts with two ports each."""

    def __init__(self, world: NatWorld, stack: ExitStack) -> None:
        self.first = stack.enter_context(Udp(world, "alpha"))
        self.other_port = stack.enter_context(Udp(world, "alpha"))
        self.other_host = stack.enter_context(Udp(world, "beta"))
        self.all = (self.first, self.other_port, self.other_host)


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab())


@pytest.fixture
def outside(world: NatWorld) -> Iterator[Outside]:
    with ExitStack() as stack:
        yield Outside(world, stack)


def outer_ports(world: NatWorld, outside: Outside, client: Udp, mode: str) -> list[int]:
    """The outer port towards each of three destinations."""
    seen = [seen_by(server, client) for server in outside.all]
    assert {address for address, _ in seen} == {world.wan(mode)}
    return [port for _, port in seen]


@every_mode
def test_REQ_1_mapping(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client:
        ports = outer_ports(world, outside, client, mode)
        assert ports == outer_ports(world, outside, client, mode), "a flow keeps its mapping"
    if independent(mode):
        assert len(set(ports)) == 1
    elif len(set(ports)) < len(ports):
        # Random ports may meet; not twice.
        with Udp(world, f"{mode}-a") as client:
            assert len(set(outer_ports(world, outside, client, mode))) == len(ports)


@every_mode
def test_REQ_3_port_is_preserved_when_free(world: NatWorld, outside: Outside, mode: str) -> None:
    preserved = []
    for _ in range(2):
        with Udp(world, f"{mode}-a") as client:
            preserved.append(seen_by(outside.first, client)[1] == client.address[1])
    assert all(preserved) if independent(mode) else not all(preserved)


@every_mode
def test_REQ_3_clients_with_one_source_port_do_not_share_an_outer_port(
    world: NatWorld, outside: Outside, mode: str
) -> None:
    port = world.port()
    with Udp(world, f"{mode}-a", port) as one, Udp(world, f"{mode}-b", port) as two:
        # Their first packets go to different hosts: towards one and the same, every NAT has to tell them apart.
        ports = {seen_by(outside.first, one)[1]}, {seen_by(outside.other_host, two)[1]}
        for server in outside.all:
            outer = seen_by(server, one), seen_by(server, two)
            assert outer[0] != outer[1]
            for client, endpoint, known in zip((one, two), outer, ports, strict=True):
                known.add(endpoint[1])
                server.send(endpoint, str(endpoint).encode())
                assert client.receive() == (str(endpoint).encode(), server.address)
    assert not keeps_tables(mode) or not ports[0] & ports[1]
    assert min(ports[0] | ports[1]) > 1023, "not from the well-known ports"
    if independent(mode):
        assert ports[0] == {port}
        assert len(ports[1]) == 1


@every_mode
def test_REQ_8_filtering(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client:
        outer = seen_by(outside.first, client)
        outside.other_host.send(outer, b"other host")
        outside.other_port.send(outer, b"other port")
        outside.first.send(outer, b"same endpoint")
        arrived = dict(client.drain())
    expected = {b"same endpoint": outside.first.address}
    if BEHAVIOURS[mode].filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT:
        expected[b"other port"] = outside.other_port.address
    if BEHAVIOURS[mode].filtering is Filtering.ENDPOINT_INDEPENDENT:
        expected[b"other host"] = outside.other_host.address
    assert arrived == expected


@pytest.mark.parametrize(
    "mode", [mode for mode, it in BEHAVIOURS.items() if it.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT]
)
def test_REQ_8_inner_host_can_answer_whoever_was_let_in(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client:
        outer = seen_by(outside.first, client)
        outside.other_port.send(outer)
        _, source = client.receive()
        client.send(source, b"answer")
        assert outside.other_port.receive() == (b"answer", outer)


@every_mode
def test_REQ_8_nothing_is_let_in_without_a_mapping(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client:
        outside.first.send((world.wan(mode), client.address[1]))
        assert client.drain() == []


@every_mode
def test_REQ_9_hairpinning(world: NatWorld, outside: Outside, mode: str) -> None:
    config = BEHAVIOURS[mode]
    with Udp(world, f"{mode}-a") as one, Udp(world, f"{mode}-b") as two:
        outer_one, outer_two = seen_by(outside.first, one), seen_by(outside.first, two)
        one.send(outer_two, b"first")
        first = two.drain()
        two.send(outer_one, b"second")
        second = one.drain()
        one.send(outer_two, b"third")
        third = two.drain()
    if not config.hairpin:
        assert first == second == third == []
        return
    open_to_all = config.filtering is Filtering.ENDPOINT_INDEPENDENT
    assert bool(first) == open_to_all, "the receiver's filtering holds for hairpinned packets too"
    assert bool(second) == bool(third) == (open_to_all or independent(mode))
    # REQ-9a: the source is the sender's outer endpoint.
    assert {source[0] for _, source in first + second + third} <= {world.wan(mode)}
    if independent(mode):
        assert {source for _, source in first + third} == {outer_two[:1] + outer_one[1:]}
        assert {source for _, source in second} == {outer_one[:1] + outer_two[1:]}


@pytest.mark.parametrize("mode", [mode for mode, config in BEHAVIOURS.items() if config.hairpin])
def test_REQ_9_hairpinning_works_before_any_other_packet(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as one, Udp(world, f"{mode}-b") as two:
        outer_two = seen_by(outside.first, two)
        one.send(outer_two, b"question")
        if BEHAVIOURS[mode].filtering is not Filtering.ENDPOINT_INDEPENDENT:
            assert two.drain() == []
            return
        question, outer_one = two.receive()
        two.send(outer_one, b"answer")
        assert (question, one.receive()) == (b"question", (b"answer", outer_two))
        if independent(mode):
            assert seen_by(outside.first, one) == outer_one, "the mapping it got is its mapping"


@pytest.mark.parametrize("mode", ["full-cone", "eim-eif-hairpin"])
def test_REQ_9_a_host_reaches_itself(world: NatWorld, outside: Outside, mode: str) -> None:
    with Udp(world, f"{mode}-a") as client:
        outer = seen_by(outside.first, client)
        client.send(outer, b"echo")
        assert client.receive() == (b"echo", outer)


@every_mode
def test_REQ_14_fragments_are_carried(world: NatWorld, outside: Outside, mode: str) -> None:
    large = bytes(range(256)) * 40
    with Udp(world, f"{mode}-a") as client:
        client.send(outside.first.address, large)
        data, outer = outside.first.receive()
        outside.first.send(outer, large[::-1])
        assert (data, client.receive()[0]) == (large, large[::-1])
