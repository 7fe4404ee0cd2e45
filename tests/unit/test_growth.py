"""Networks that grow and shrink: nothing that stays is renumbered, nothing that goes is given to anybody else."""

from __future__ import annotations

from itertools import combinations

import msgspec
from hypothesis import given

from patchbay_runner.lab import growth
from patchbay_runner.lab.addressing import AddressPlan, routers_outside_in
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.lab.region_links import region_cables
from patchbay_runner.lab.replan import Network
from patchbay_runner.model.topology import Topology
from tests.unit.topologies import topologies

_replace = msgspec.structs.replace


def without_own_prefixes(topology: Topology) -> Topology:
    """A prefix of one's own may be in the way of what the pool has given meanwhile, which is an error."""
    return _replace(topology, routers=tuple(_replace(router, cidr=None, cidr_v6=None) for router in topology.routers))


def pieces(topology: Topology) -> list[Topology]:
    """The same in an order in which everything refers to what is there."""
    return [
        *(Topology(regions=(_replace(region, towards={}),)) for region in topology.regions),
        *(Topology(routers=(router,)) for router in routers_outside_in(topology)),
        *(Topology(devices=(device,)) for device in topology.devices),
        *(Topology(region_links=(cable.link,)) for cable in region_cables(topology)),
    ]


def all_declared(topology: Topology) -> Topology:
    """Regions that others only mention are declared when they come one by one."""
    mentioned = {name for region in topology.regions for name in region.towards}
    known = {region.name for region in topology.regions}
    return topology if mentioned <= known else _replace(topology, regions=())


@given(topologies().map(without_own_prefixes).map(all_declared))
def test_a_network_that_comes_in_pieces_keeps_every_number(topology: Topology) -> None:
    if not topology.regions:
        topology = _replace(topology, routers=tuple(_replace(router, region=None) for router in topology.routers))
    empty = Topology(lab=topology.lab)
    network = Network(empty, plan_addresses(empty))
    for piece in pieces(topology):
        before, network = network, growth.extend(network, piece)
        assert network.plan.ports.items() >= before.plan.ports.items()
        cables = {cable.link.pair: cable for cable in region_cables(network.topology)}
        assert all(cables[cable.link.pair] == cable for cable in region_cables(before.topology))
    assert_sound(network.plan)
    assert {device.name for device in network.topology.devices} == {device.name for device in topology.devices}
    assert draw_blueprint(network.topology, network.plan).nodes.keys() == draw_blueprint(topology).nodes.keys()


@given(topologies().map(without_own_prefixes))
def test_what_goes_is_given_to_nobody(topology: Topology) -> None:
    network = Network(topology, plan_addresses(topology))
    used = addresses(network.plan)
    for device in topology.devices:
        network = growth.without_device(network, device.name)
    for router in reversed(routers_outside_in(topology)):
        network = growth.without_router(network, router.name)
    back = growth.extend(network, Topology(routers=topology.routers, devices=topology.devices))
    assert_sound(back.plan)
    kept = addresses(network.plan)
    assert not (addresses(back.plan) - kept) & used


def addresses(plan: AddressPlan) -> set[object]:
    return {each.ip for port in plan.ports.values() for each in (port.v4, port.v6) if each is not None}


def assert_sound(plan: AddressPlan) -> None:
    """Disjoint LANs, members inside them, no hardware address and no socket of a switch twice."""
    for one, other in combinations(plan.lans.values(), 2):
        for mine, its in ((one.v4, other.v4), (one.v6, other.v6)):
            assert mine is None or its is None or not mine.overlaps(its)  # type: ignore[arg-type]  # of one family
    for lan in plan.lans.values():
        assert all(port.v4 is None or port.v4.ip in lan.v4 for port in lan.members if lan.v4 is not None)
        assert len({port.slot for port in lan.members}) == len(lan.members)
    macs = [port.mac for port in plan.ports.values()]
    assert len(set(macs)) == len(macs)
    numbers = [lan.number for lan in plan.lans.values()]
    assert len(set(numbers)) == len(numbers)
