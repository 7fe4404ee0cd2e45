"""Which outer ports a NAT gives, and what happens when it has none left (RFC 4787, section 4.2; RFC 6888, REQ-4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import Mapping, NatConfig, NatTimeouts, PortAllocation
from tests.netns.support.nat_probes import SILENCE_S, Tcp, Udp, accepted_from, outcome, seen_by
from tests.netns.support.nat_world import NatWorld

pytestmark = pytest.mark.netns

EIM, EDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.ENDPOINT_DEPENDENT
RANGE = (40_000, 40_007)
BRIEF = NatTimeouts(2, 2, 2)

PORTS: dict[str, NatConfig] = {
    f"{short}-{allocation.value}{'-few' if few else ''}": NatConfig(
        mapping, timeouts=BRIEF if few else NatTimeouts(), allocation=allocation, port_range=RANGE if few else None
    )
    for (short, mapping), allocation, few in itertools.product(
        (("eim", EIM), ("edm", EDM)), PortAllocation, (False, True)
    )
}
few_ports = pytest.mark.parametrize("mode", [mode for mode, config in PORTS.items() if config.port_range])
# No test takes all of its ports.
ROOMY = "roomy"


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> NatWorld:
    return NatWorld(new_lab(), PORTS | {ROOMY: PORTS["eim-preserving-few"]})


@pytest.fixture
def servers(world: NatWorld) -> Iterator[list[Udp]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Udp(world, host)) for host in ("alpha", "alpha", "beta")]


def test_preserving_symmetric_nat_preserves_for_the_first_destination(world: NatWorld, servers: list[Udp]) -> None:
    with Udp(world, "edm-preserving-a") as client, Udp(world, "edm-preserving-b", client.address[1]) as other:
        ports = [seen_by(server, client)[1] for server in servers]
        assert ports[0] == client.address[1]
        assert len(set(ports)) == len(ports)
        taken = [seen_by(server, other)[1] for server in servers]
        assert not set(taken) & set(ports), "no port is given twice"


def test_a_preserving_nat_keeps_to_its_range(world: NatWorld, servers: list[Udp]) -> None:
    with Udp(world, f"{ROOMY}-a", RANGE[1]) as inside, Udp(world, f"{ROOMY}-b") as outside:
        assert {seen_by(server, inside)[1] for server in servers} == {RANGE[1]}
        (port,) = {seen_by(server, outside)[1] for server in servers}
        assert RANGE[0] <= port < RANGE[1]


def test_a_sequential_symmetric_nat_can_be_predicted(world: NatWorld, servers: list[Udp]) -> None:
    with Udp(world, "edm-sequential-a") as client, Udp(world, "edm-sequential-b") as other:
        ports = [seen_by(server, one)[1] for server in servers for one in (client, other)]
        assert [seen_by(server, client)[1] for server in servers] == ports[::2], "a flow keeps its mapping"
    assert ports == list(range(ports[0], ports[0] + len(ports)))


def test_a_sequential_nat_gives_every_endpoint_the_next_port(world: NatWorld, servers: list[Udp]) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Udp(world, f"eim-sequential-{name}")) for name in "abab"]
        ports = [{seen_by(server, client)[1] for server in servers} for client in clients]
    (first,) = ports[0]
    assert ports == [{first + number} for number in range(len(clients))]


def test_random_ports_of_an_independent_mapping(world: NatWorld, servers: list[Udp]) -> None:
    with Udp(world, "eim-random-a") as one, Udp(world, "eim-random-b") as two:
        seen = [{seen_by(server, client)[1] for server in servers} for client in (one, two)]
        assert [len(ports) for ports in seen] == [1, 1]
        assert seen != [{one.address[1]}, {two.address[1]}]


@few_ports
def test_every_port_of_a_range_is_given_and_no_other(world: NatWorld, servers: list[Udp], mode: str) -> None:
    server = servers[0]
    with ExitStack() as stack:
        clients = [stack.enter_context(Udp(world, f"{mode}-a")) for _ in range(RANGE[0], RANGE[1] + 1)]
        ports = [seen_by(server, client)[1] for client in clients]
        assert sorted(ports) == list(range(RANGE[0], RANGE[1] + 1))
        late = stack.enter_context(Udp(world, f"{mode}-b"))
        late.send(server.address)
        assert server.drain() == [], "there is no port left"
        patience_s = 3 * BRIEF.udp_s
        tries = itertools.count()
        while not server.drain(SILENCE_S):
            assert next(tries) * SILENCE_S < patience_s, "an expired mapping makes room"
            late.send(server.address)


@few_ports
def test_tcp_connections_get_ports_of_the_range(world: NatWorld, mode: str) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(Tcp(world, "beta"))
        listener = server.listen()
        ports = []
        for _ in range(RANGE[0], RANGE[1] + 1):
            client = stack.enter_context(Tcp(world, f"{mode}-a"))
            source, end = accepted_from(listener, client, server.address)
            stack.callback(end.close)
            ports.append(source[1])
        assert sorted(ports) == list(range(RANGE[0], RANGE[1] + 1))
        late = stack.enter_context(Tcp(world, f"{mode}-b"))
        assert outcome(late.start(server.address)) == "silent"
