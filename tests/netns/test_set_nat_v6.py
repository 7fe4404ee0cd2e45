"""Changing how a running router translates IPv6, in any order, and what becomes of flows."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import IpSupport, NatV6, Router, Topology
from tests.netns.support.translating import Lan6, arrives, device

DUAL, V6_ONLY, ULA = "dual", "pure", "home"


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> Lan6:
    return Lan6(
        new_lab(),
        Topology(
            routers=(
                Router(name="dc"),
                Router(name=DUAL),
                Router(name=V6_ONLY, ip_support=IpSupport.V6_ONLY),
                Router(name=ULA, nat=nat_mode("home")),
                Router(name="sub", upstream=ULA),
            ),
            devices=(
                device("server", "dc"),
                device("a", DUAL),
                device("b", V6_ONLY),
                device("c", ULA),
                device("d", "sub"),
            ),
        ),
    )


def every_transition() -> list[NatV6]:
    """A walk through all modes that takes every step from one to another once, and begins and ends with none."""
    modes = list(NatV6)
    random.Random(6296).shuffle(modes)
    left = set(itertools.permutations(modes, 2))
    walk = [NatV6.NONE]

    def go() -> bool:
        if not left:
            return True
        for mode in modes:
            if (step := (walk[-1], mode)) in left:
                left.remove(step)
                walk.append(mode)
                if go():
                    return True
                walk.pop()
                left.add(step)
        return False

    assert go()
    return walk[1:]


@pytest.mark.parametrize(("client", "router"), [("a", DUAL), ("b", V6_ONLY), ("c", ULA), ("d", ULA)])
def test_every_mode_after_every_other(world: Lan6, client: str, router: str) -> None:
    own = world.address(client)
    before = world.lab.state()["routers"][router]["downstream"]["cidr_v6"]
    for mode in every_transition():
        world.change(commands.SetNatV6(router, mode))
        seen = world.seen(client)[0]
        expected = {NatV6.NONE: own, NatV6.NAT64: own, NatV6.MASQUERADE: world.uplink(router)}
        if mode in expected:
            assert seen == expected[mode], mode
        else:
            assert seen.startswith("3fff:0:"), mode
        # An own address is reached, a mapped one too, a masqueraded one is not.
        assert world.pings("server", own if mode is NatV6.MASQUERADE else seen) is (mode is not NatV6.MASQUERADE), mode
        assert world.pings(client, world.behind("server")) is (mode is NatV6.NAT64), mode
    state = world.lab.state()["routers"][router]
    assert (state["nat_v6"], state["downstream"]["cidr_v6"]) == ("none", before)


def test_ipv4_comes_to_the_uplink_with_nat64_and_goes(world: Lan6) -> None:
    def address() -> str | None:
        found: str | None = world.lab.state()["routers"][V6_ONLY]["uplink"]["ip"]
        return found

    assert address() is None
    world.change(commands.SetNatV6(V6_ONLY, NatV6.NAT64))
    v4 = address()
    assert v4 is not None
    assert world.pings("server", v4)
    world.change(commands.SetNatV6(V6_ONLY, NatV6.NONE))
    assert address() is None
    assert not world.pings("server", v4)
    world.change(commands.SetNatV6(V6_ONLY, NatV6.NAT64))
    assert address() == v4
    world.change(commands.SetNatV6(V6_ONLY, NatV6.NONE))


def test_tracked_flows_go_on_until_they_are_flushed(world: Lan6) -> None:
    world.change(commands.SetNatV6(DUAL, NatV6.MASQUERADE))
    with world.udp("server") as server, world.udp("a") as client:
        target = (world.address("server"), server.getsockname()[1])

        def source() -> str:
            client.sendto(b"?", target)
            found: str = server.recvfrom(10)[1][0]
            return found

        assert source() == world.uplink(DUAL)
        world.change(commands.SetNatV6(DUAL, NatV6.NPTV6))
        assert source() == world.uplink(DUAL)
        world.change(commands.FlushNat(DUAL))
        assert source() == world.outside("a", DUAL)
        world.change(commands.SetNatV6(DUAL, NatV6.NONE))


def test_flows_of_a_nat64_end_with_it_and_those_beside_it_do_not(world: Lan6) -> None:
    # Random outer ports: what comes to the old one is not meant for a new flow that happens to have it again.
    world.change(commands.SetNat(ULA, nat_mode("corporate")))
    world.change(commands.SetNatV6(ULA, NatV6.NAT64))
    with (
        world.udp("server", "0.0.0.0") as server,
        world.udp("c", port=4400) as by_nat64,
        world.udp("c", "0.0.0.0") as by_ipv4,
    ):
        port = server.getsockname()[1]
        by_nat64.sendto(b"?", (world.behind("server"), port))
        outer64 = server.recvfrom(10)[1]
        by_ipv4.sendto(b"?", (world.address("server", "ip"), port))
        outer4 = server.recvfrom(10)[1]
        world.change(commands.SetNatV6(ULA, NatV6.NONE))
        world.change(commands.SetNatV6(ULA, NatV6.NAT64))
        # Another client is the first that the new translator sees; the old one's packets must not reach it.
        with world.udp("d", port=4400) as first:
            first.sendto(b"?", (world.behind("server"), port))
            own = server.recvfrom(10)[1]
            server.sendto(b"late", outer64)
            assert not arrives(first)
            assert not arrives(by_nat64)
            server.sendto(b"!", own)
            assert arrives(first, 5)
        server.sendto(b"on", outer4)
        assert arrives(by_ipv4, 5)
    world.change(commands.SetNatV6(ULA, NatV6.NONE))
    world.change(commands.SetNat(ULA, nat_mode("home")))
