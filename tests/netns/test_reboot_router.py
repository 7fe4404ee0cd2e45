"""A router that is rebooted: nothing passes while it is away, what it had learned is gone, all else is as before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.firewall import firewall_mode
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import NatV6, Router, Topology
from tests.netns.support.translating import Lan6, arrives, device

# Long enough for the pings below on a busy machine.
AWAY_S = 4.0


def new_world(lab: LabClient) -> Lan6:
    return Lan6(
        lab,
        Topology(
            routers=(
                Router(name="dc"),
                Router(name="home", nat=nat_mode("full-cone"), nat_v6=NatV6.NAT64),
                Router(name="sub", upstream="home"),
                Router(name="next"),
            ),
            devices=(
                device("server", "dc"),
                device("a", "home"),
                device("b", "home"),
                device("c", "sub"),
                device("d", "next"),
            ),
        ),
    )


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> Lan6:
    return new_world(new_lab())


@contextmanager
def rebooting(world: Lan6, router: str, down_for_s: float = AWAY_S) -> Iterator[float]:
    """The time while a router is away; gives when it began. Ends when the router is back."""
    finished = threading.Thread(target=world.change, args=(commands.RebootRouter(router, down_for_s),))
    started_s = time.monotonic()
    finished.start()
    try:
        deadline_s = started_s + 5
        while b"state DOWN" not in world.lab.run(router, ["ip", "link", "show", "dev", "lan"]).stdout:
            assert time.monotonic() < deadline_s
        yield started_s
    finally:
        finished.join()


def ways(world: Lan6, wait_s: float = 5) -> dict[str, bool]:
    """Whether one packet gets through `home` and back by each way, all tried at once."""
    tried = {
        "v4": ("a", world.address("server", "ip")),
        "v6": ("a", world.address("server")),
        "inbound": ("server", world.address("a")),
        "members": ("a", world.address("b", "ip")),
        "members v6": ("a", world.address("b")),
        "nat64": ("a", world.behind("server")),
        "sub": ("c", world.address("server", "ip")),
        "sub v6": ("server", world.address("c")),
        "itself": ("server", world.uplink("home", "ip")),
    }
    command = ("ping", "-n", "-c1", f"-W{wait_s}")
    pings = {way: world.lab.popen(node, [*command, to]) for way, (node, to) in tried.items()}
    return {way: ping.wait() == 0 for way, ping in pings.items()}


def test_nothing_passes_while_it_is_away_and_all_does_afterwards(world: Lan6) -> None:
    before = world.lab.state()
    assert all(ways(world).values())
    with rebooting(world, "home") as started_s:
        found = ways(world, 0.5)
        # The agent is not held up, and other routers go on.
        assert world.pings("d", world.address("server"), "-W5")
        assert time.monotonic() - started_s < AWAY_S, "this machine is too slow to look at the router while it is away"
        assert not any(found.values()), found
    assert time.monotonic() - started_s >= AWAY_S
    found = ways(world)
    assert all(found.values()), found
    assert world.lab.state() == before


def test_the_first_packets_afterwards_are_not_lost(world: Lan6) -> None:
    for _ in range(10):
        world.change(commands.RebootRouter("home", 0.01))
        found = ways(world)
        assert all(found.values()), found


def test_what_it_had_learned_is_gone(world: Lan6) -> None:
    with world.udp("server", "0.0.0.0") as server, world.udp("a", "0.0.0.0") as plain, world.udp("a") as translated:
        port = server.getsockname()[1]
        outer = []
        for client, target in ((plain, world.address("server", "ip")), (translated, world.behind("server"))):
            client.sendto(b"?", (target, port))
            outer.append(server.recvfrom(10)[1])
            server.sendto(b"!", outer[-1])
            assert arrives(client, 5)
        neighbours = ["ip", "neigh", "add", "10.9.9.9", "lladdr", "02:00:00:00:00:09", "nud", "stale", "dev", "lan"]
        world.lab.run("home", neighbours)
        world.change(commands.RebootRouter("home", 0.01))
        for client, endpoint in zip((plain, translated), outer, strict=True):
            server.sendto(b"!", endpoint)
            assert not arrives(client)
    assert b"10.9.9.9" not in world.lab.run("home", ["ip", "neigh"]).stdout


def test_changes_meanwhile_come_into_force_when_it_is_back(lab: LabClient) -> None:
    world = new_world(lab)
    with rebooting(world, "home", 1.0):
        world.change(commands.Replug("d", "eth0", "home"))
        world.change(commands.SetNatV6("home", NatV6.MASQUERADE))
        world.change(commands.SetFirewall("home", firewall_mode("corporate")))
        assert not world.pings("d", world.address("server"), "-W0.2")
        with pytest.raises(LabError, match="being rebooted"):
            world.change(commands.RebootRouter("home", 0.1))
    assert world.pings("d", world.address("server"))
    assert world.pings("a", world.address("d"))
    assert not world.pings("server", world.address("d"))
    assert not world.pings("a", world.behind("server"))


def test_link_conditions_stay(world: Lan6) -> None:
    world.change(commands.SetLinkCondition("a", "eth0", LinkCondition(latency_ms=30), "both"))
    world.change(commands.SetDownlink("home", LinkCondition(latency_ms=20)))
    world.change(commands.SetUplink("home", LinkCondition(latency_ms=10)))

    def round_trip_ms(client: str) -> float:
        command = ["ping", "-n", "-q", "-i0.02", "-c10", world.address("server")]
        shown = world.lab.run(client, command).stdout.decode()
        return float(shown.rpartition("= ")[2].split("/")[0])

    try:
        for _ in range(3):
            assert 89 < round_trip_ms("a") < 100
            assert 29 < round_trip_ms("b") < 40
            world.change(commands.RebootRouter("home", 0.05))
    finally:
        world.change(commands.SetLinkCondition("a", "eth0", None, "both"))
        world.change(commands.SetDownlink("home"))
        world.change(commands.SetUplink("home"))


def test_a_router_that_is_not_there(world: Lan6) -> None:
    for name in ("nowhere", "a", "ix"):
        with pytest.raises(LabError, match="no such router"):
            world.change(commands.RebootRouter(name, 0.1))
