"""Regions with real packets: distances in both families and each direction, and who pays none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.topology import Device, Interface, Region, Router, Topology
from tests.netns.support.region_world import FAMILIES, SLOW_MS, RegionWorld, assert_takes

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> RegionWorld:
    return RegionWorld(new_lab())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("source", "target", "asked_ms"),
    [
        ("d-paris", "d-boston", 40),
        ("d-boston", "d-tokyo", 50),
        ("d-tokyo", "d-paris", 300),
        ("d-home", "d-boston", 40),
        ("d-paris", "d-suburb", 40),
        ("d-tokyo", "d-street", 50),
        ("slow", "d-boston", 40 + SLOW_MS),
        ("d-paris", "d-rome", 0),
        ("d-boston", "d-street", 0),
        ("d-paris", "d-plain", 0),
        ("d-plain", "d-tokyo", 0),
        ("d-moon", "d-tokyo", 0),
        ("d-paris", "d-moon", 0),
    ],
)
def test_a_round_trip_takes_both_ways_and_nothing_else(
    world: RegionWorld, source: str, target: str, asked_ms: float, family: str
) -> None:
    assert_takes(asked_ms, lambda: world.round_trip_ms(source, target, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_direction_has_a_latency_of_its_own(world: RegionWorld, family: str) -> None:
    assert_takes(10, lambda: world.one_way_ms("d-boston", "d-tokyo", family))
    assert_takes(40, lambda: world.one_way_ms("d-tokyo", "d-boston", family))


def test_a_nat_in_a_region_shows_its_address_on_the_regions_lan(world: RegionWorld) -> None:
    with world.lab.socket("d-home", "inet", "dgram") as sender, world.lab.socket("d-boston", "inet", "dgram") as server:
        server.bind(("0.0.0.0", 0))
        server.settimeout(3)
        sender.sendto(b"?", (world.address("d-boston", "ip"), server.getsockname()[1]))
        seen = server.recvfrom(10)[1][0]
    assert seen == world.state["routers"]["home"]["uplink"]["ip"]
    assert seen.rpartition(".")[0] == world.state["regions"]["eu"]["cidr"].rpartition(".")[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_router_in_another_region_says_so(world: RegionWorld, family: str) -> None:
    size = 1472 if family == "ip" else 1452
    output = world.ping("d-paris", "d-street", family, "-c2", "-W1", "-Mdo", f"-s{size}", check=False)
    assert "mtu = 1400" in output or "mtu=1400" in output
    assert "0% packet loss" in world.ping("d-paris", "d-boston", family, "-c1", "-W2", "-Mdo", f"-s{size}")


def test_the_state_tells_regions_and_links(world: RegionWorld) -> None:
    state = world.lab.state()
    assert list(state["regions"]) == ["eu", "us", "asia", "far"]
    assert state["regions"]["eu"]["router"] == "region_eu"
    assert state["regions"]["eu"]["routers"] == ["paris", "rome", "home"]
    assert state["region_links"][2] == {
        "a": "us",
        "b": "asia",
        "router_a": "region_us",
        "router_b": "region_asia",
        "a_to_b": {"latency_ms": 10.0},
        "b_to_a": {"latency_ms": 40.0},
        "broken": False,
    }
    regions = {name: router["region"] for name, router in state["routers"].items()}
    assert {name for name, region in regions.items() if region == "us"} == {"boston", "suburb", "street"}
    assert regions["plain"] is None


def test_loss_is_that_of_its_direction_alone(lab: LabClient) -> None:
    regions = (
        Region(name="eu", towards={"us": LinkCondition(loss_pct=100)}),
        Region(name="us", towards={"eu": LinkCondition()}),
    )
    state = lab.build(pair_of_regions(regions))
    with lab.socket("d-eu", "inet", "dgram") as here, lab.socket("d-us", "inet", "dgram") as there:
        ends = [(end, state["devices"][name]["interfaces"][0]["ip"]) for end, name in ((here, "d-eu"), (there, "d-us"))]
        for end, _ in ends:
            end.bind(("0.0.0.0", 0))
            end.settimeout(3)
        here.sendto(b"lost", (ends[1][1], there.getsockname()[1]))
        there.sendto(b"arrives", (ends[0][1], here.getsockname()[1]))
        assert here.recv(20) == b"arrives"
        there.settimeout(0.3)
        with pytest.raises(TimeoutError):
            there.recv(20)
    # The way that is clear has nothing in its path.
    assert "em0:" in links_of(lab, "region_eu").replace("@", ":")
    assert "em" not in links_of(lab, "region_us")


def test_links_without_a_condition_cost_no_emulator(lab: LabClient) -> None:
    lab.build(pair_of_regions((Region(name="eu", towards={"us": LinkCondition()}),)))
    for node in ("region_eu", "region_us"):
        assert "link1@" in links_of(lab, node)
        assert "em" not in links_of(lab, node)


def pair_of_regions(regions: tuple[Region, ...]) -> Topology:
    return Topology(
        routers=(Router(name="eu", region="eu"), Router(name="us", region="us")),
        devices=tuple(
            Device(name=f"d-{name}", interfaces=(Interface(name="eth0", gateway=name),)) for name in ("eu", "us")
        ),
        regions=regions,
    )


def links_of(lab: LabClient, node: str) -> str:
    """The names of a node's interfaces, as `ip` shows them."""
    lines = lab.run(node, ["ip", "-o", "link"]).stdout.decode().splitlines()
    return " ".join(line.split()[1] for line in lines)
