"""The blueprint: every next hop on-link, every route leads where the LAN is, NAT hides what is behind it."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given

from patchbay_runner.lab.addressing import IX
from patchbay_runner.lab.blueprint import Blueprint, NodeBlueprint
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.routing import Route
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, NatV6, Router, Topology
from tests.unit.topologies import one_lan, topologies


def routes(node: NodeBlueprint) -> list[Route]:
    return [route for interface in node.interfaces for route in interface.routes]


@given(topologies())
def test_every_next_hop_is_a_permanent_neighbour(topology: Topology) -> None:
    for node in draw_blueprint(topology).nodes.values():
        for interface in node.interfaces:
            known = {address for port in interface.neighbours for address in (port.v4 and port.v4.ip, port.link_local)}
            assert all(route.via in known for route in interface.routes if route.via is not None)


@given(topologies())
def test_no_interface_index_or_name_is_used_twice_in_a_node(topology: Topology) -> None:
    blueprint = draw_blueprint(topology)
    used: dict[str, list[tuple[int, str]]] = {name: [] for name in blueprint.nodes}
    for node in blueprint.nodes.values():
        used[node.name] += [(bridge.index, bridge.name) for bridge in node.bridges]
        for interface in node.interfaces:
            if interface.cable is not None:
                used[node.name].append((interface.index, interface.port.interface))
                used[interface.cable.owner].append((interface.cable.port_index, interface.cable.port_name))
    for entries in used.values():
        assert len({index for index, _ in entries}) == len(entries)
        assert len({name for _, name in entries}) == len(entries)


@given(topologies())
def test_owners_stand_before_their_members(topology: Topology) -> None:
    seen: set[str] = set()
    for node in draw_blueprint(topology).nodes.values():
        seen.add(node.name)
        assert all(interface.cable is None or interface.cable.owner in seen for interface in node.interfaces)


@given(topologies())
def test_the_exchange_knows_the_way_to_every_lan_that_no_nat_hides(topology: Topology) -> None:
    blueprint = draw_blueprint(topology)
    by_name = {router.name: router for router in topology.routers}
    for router in topology.routers:
        path: list[Router] = []
        step: Router | None = router
        while step is not None:
            path.append(step)
            step = by_name[step.upstream] if step.upstream else None
        lan = blueprint.plan.lans[router.name]
        carried_v4 = all(
            not r.is_isolated and r.nat.config is None and blueprint.plan.wan(r).v4 is not None for r in path
        )
        carried_v6 = all(
            not r.is_isolated and r.nat_v6 is NatV6.NONE and blueprint.plan.wan(r).v6 is not None for r in path
        )
        known = {route.destination for route in routes(blueprint.nodes[IX])}
        assert (lan.v4 in known) == (lan.v4 is not None and carried_v4)
        assert (lan.v6 in known) == (lan.v6 is not None and carried_v6)


def test_only_the_default_interface_has_default_routes() -> None:
    blueprint = two_homed("cell0")
    first, second = blueprint.nodes["phone"].interfaces
    assert first.routes == ()
    assert [str(route.destination) for route in second.routes] == ["0.0.0.0/0", "::/0"]


def two_homed(default_via: str) -> Blueprint:
    topology = Topology(
        routers=(Router(name="wifi", nat=nat_mode("home")), Router(name="cell", nat=nat_mode("cgnat"))),
        devices=(
            Device(
                name="phone",
                default_via=default_via,
                interfaces=(Interface(name="wlan0", gateway="wifi"), Interface(name="cell0", gateway="cell")),
            ),
        ),
    )
    return draw_blueprint(topology)


def test_a_narrow_uplink_is_known_to_those_above_it() -> None:
    topology = Topology(routers=(Router(name="vpn", mtu=1420), Router(name="dc")))
    blueprint = draw_blueprint(topology)
    mtus = {route.destination: route.mtu for route in routes(blueprint.nodes[IX])}
    assert mtus[blueprint.plan.lans["vpn"].v4] == 1420  # type: ignore[index]
    assert mtus[blueprint.plan.lans["dc"].v4] is None  # type: ignore[index]
    wan = blueprint.plan.ports["vpn", "ix"].v4
    assert wan is not None
    assert mtus[IPv4Network(wan.ip)] == 1420


def test_a_long_lan_gets_further_bridges() -> None:
    router = draw_blueprint(one_lan(2500, IpSupport.V4_ONLY)).nodes["r"]
    assert [bridge.name for bridge in router.bridges] == ["lan", "seg0", "seg1", "seg2"]


@pytest.mark.parametrize(("members", "crowded"), [(100, False), (101, True)])
def test_members_of_a_crowd_are_told_so(members: int, crowded: bool) -> None:
    interface = draw_blueprint(one_lan(members)).nodes["d0"].interfaces[0]
    assert interface.is_crowded is crowded


def test_a_v4_only_lan_carries_no_ipv6() -> None:
    blueprint = draw_blueprint(one_lan(1, IpSupport.V4_ONLY))
    assert not blueprint.nodes["r"].v6
    assert not blueprint.nodes["d0"].v6
