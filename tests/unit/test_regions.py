"""Regions: who is linked to whom, addresses that nobody shares, and routes of every prefix over the link."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations, pairwise

import pytest
from hypothesis import given

from patchbay_runner.errors import LabError
from patchbay_runner.lab import replan
from patchbay_runner.lab.addressing import AddressPlan
from patchbay_runner.lab.blueprint import Blueprint
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.lab.region_links import region_cables
from patchbay_runner.lab.regions import region_router
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.routing import Route
from patchbay_runner.model import ranges
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.regions import MOST_REGION_LINKS, declared_regions, region_links
from patchbay_runner.model.topology import Region, Router, Topology
from tests.unit.topologies import topologies

Prefix = IPv4Network | IPv6Network


def region(name: str, **latencies_ms: float) -> Region:
    return Region(name=name, towards={other: LinkCondition(latency_ms=ms) for other, ms in latencies_ms.items()})


def full_mesh(count: int) -> tuple[Region, ...]:
    names = [f"g{i}" for i in range(count)]
    return tuple(region(name, **dict.fromkeys(names[i + 1 :], 10)) for i, name in enumerate(names))


def test_one_entry_serves_both_directions_and_two_give_one_each() -> None:
    links = region_links((region("us", eu=80, asia=100), region("eu"), region("asia", us=60)))
    assert [(link.a, link.b, link.a_to_b.latency_ms, link.b_to_a.latency_ms) for link in links] == [
        ("us", "eu", 80, 80),
        ("us", "asia", 100, 60),
    ]


def test_a_region_that_is_only_mentioned_is_declared_behind_the_others() -> None:
    regions = (region("eu", us=80), region("asia", us=90, eu=10))
    assert [each.name for each in declared_regions(regions)] == ["eu", "asia", "us"]
    assert [(link.a, link.b) for link in region_links(regions)] == [("eu", "us"), ("asia", "us"), ("eu", "asia")]


def test_regions_move_no_address_of_routers_that_are_in_none() -> None:
    routers = (Router(name="dc"), Router(name="home", nat=nat_mode("home")), Router(name="far", upstream="dc"))
    plain = plan_addresses(Topology(routers=routers))
    inside = Router(name="paris", region="eu")
    mixed = plan_addresses(Topology(routers=(*routers, inside), regions=(region("eu", us=10),)))
    for router in routers:
        assert mixed.lans[router.name].v4 == plain.lans[router.name].v4
        assert mixed.wan(router).v4 == plain.wan(router).v4
    assert [member.node for member in mixed.lans["region_eu"].members] == ["paris"]
    assert mixed.wan(inside).lan == "region_eu"


def test_a_region_that_is_not_declared_is_an_error() -> None:
    with pytest.raises(LabError, match="'eu' is not declared"):
        plan_addresses(Topology(routers=(Router(name="r", region="eu"),)))


def test_64_regions_fit_with_128_links_and_no_prefix_overlaps_another() -> None:
    names = [f"g{i}" for i in range(64)]
    regions = tuple(region(name, **{names[(i + 1) % 64]: 10, names[(i + 2) % 64]: 20}) for i, name in enumerate(names))
    routers = tuple(Router(name=f"{name}-{k}", region=name) for name in names for k in range(4))
    topology = Topology(routers=routers, regions=regions)
    assert len(region_cables(topology)) == MOST_REGION_LINKS
    assert_disjoint(plan_addresses(topology), topology)
    macs = [port.mac for cable in region_cables(topology) for port in cable.ends]
    assert len(set(macs)) == len(macs)


def test_one_link_more_than_there_are_addresses_for_is_an_error() -> None:
    assert sum(block.num_addresses // 4 for block in ranges.REGION_LINKS_V4) == MOST_REGION_LINKS
    assert len(region_cables(Topology(regions=full_mesh(16)))) == 120
    with pytest.raises(LabError, match="no IPv4 prefix left for the link"):
        region_cables(Topology(regions=full_mesh(17)))


def test_no_pool_overlaps_another() -> None:
    blocks: list[Prefix] = [ranges.IX_V6, ranges.PUBLIC_V6, ranges.PRIVATE_V6, ranges.REGION_LINKS_V6]
    blocks += [*ranges.PUBLIC_V4, *ranges.PRIVATE_V4, *ranges.REGION_LINKS_V4]
    assert not [pair for pair in combinations(blocks, 2) if pair[0].version == pair[1].version and _overlap(*pair)]


@given(topologies())
def test_links_share_no_address_with_lans(topology: Topology) -> None:
    assert_disjoint(plan_addresses(topology), topology)


@given(topologies())
def test_every_prefix_of_a_region_goes_over_the_link_and_nowhere_else_when_it_is_broken(topology: Topology) -> None:
    blueprint = draw_blueprint(topology)
    for link in region_links(topology.regions):
        for here, there in ((link.a, link.b), (link.b, link.a)):
            over = {route.destination for route in link_routes(blueprint, here, there)}
            nowhere = {route.destination for route in routes_of(blueprint, here, "lan") if route.is_blackhole}
            assert over == set(reached_through(blueprint, there))
            assert over <= nowhere


@given(topologies())
def test_nothing_but_a_link_leads_to_another_region(topology: Topology) -> None:
    blueprint = draw_blueprint(topology)
    pairs = {link.pair for link in region_links(topology.regions)}
    names = [each.name for each in declared_regions(topology.regions)]
    for here, there in combinations(names, 2):
        if frozenset((here, there)) not in pairs:
            interfaces = blueprint.nodes[region_router(here)].interfaces
            known = {route.destination for each in interfaces for route in each.routes}
            assert not known & set(reached_through(blueprint, there))


def test_a_lan_that_nat_hides_from_now_on_is_reached_over_no_link() -> None:
    topology = Topology(
        routers=(Router(name="paris", region="eu"), Router(name="boston", region="us")), regions=(region("eu", us=10),)
    )
    network = Network(topology, plan_addresses(topology))
    lan = network.plan.lans["boston"].v4
    before = draw_blueprint(network.topology, network.plan)
    assert lan in {route.destination for route in link_routes(before, "eu", "us")}
    changed = replan.change_router(
        network, "boston", lambda _: Router(name="boston", region="us", nat=nat_mode("home"))
    )
    after = draw_blueprint(changed.topology, changed.plan)
    assert lan not in {route.destination for route in link_routes(after, "eu", "us")}


def assert_disjoint(plan: AddressPlan, topology: Topology) -> None:
    networks: list[Prefix] = [net for lan in plan.lans.values() for net in (lan.v4, lan.v6) if net is not None]
    for cable in region_cables(topology):
        for near, far in ((cable.near.v4, cable.far.v4), (cable.near.v6, cable.far.v6)):
            assert near is not None
            assert far is not None
            assert near.network == far.network
            assert near.ip != far.ip
            networks.append(near.network)
    for version in (4, 6):
        spans = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for network in networks
            if network.version == version
        )
        assert all(left[1] < right[0] for left, right in pairwise(spans))


def reached_through(blueprint: Blueprint, name: str) -> Iterator[Prefix]:
    """The LANs that the exchange sends to a region's router, the region's own first."""
    uplink = blueprint.plan.ports[region_router(name), "ix"]
    assert uplink.v4 is not None
    for route in routes_of(blueprint, None, "ix"):
        if route.via in (uplink.v4.ip, uplink.link_local):
            yield route.destination


def link_routes(blueprint: Blueprint, here: str, there: str) -> list[Route]:
    node = blueprint.nodes[region_router(here)]
    (interface,) = [each for each in node.interfaces if each.port.lan == region_router(there)]
    return list(interface.routes)


def routes_of(blueprint: Blueprint, name: str | None, interface: str) -> list[Route]:
    node = blueprint.nodes["ix" if name is None else region_router(name)]
    (found,) = [each for each in node.interfaces if each.port.interface == interface]
    return list(found.routes)


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.network_address in other or other.network_address in one
