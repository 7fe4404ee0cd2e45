"""Devices that configure themselves: what the plan gives them, what they are told, and what they still lack."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network

import msgspec
import pytest
from hypothesis import given

from patchbay_runner.kernel.ndp import PrefixInformation, slaac_address
from patchbay_runner.kernel.netlink import ANY_V4, ANY_V6, IFA_F_DADFAILED, IFA_F_TENTATIVE, LinkAddress, Route
from patchbay_runner.lab import replan
from patchbay_runner.lab.blueprint import Blueprint, InterfaceBlueprint
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.lab.provisioning import device_sysctls
from patchbay_runner.lab.reconcile import NodeChange, changes
from patchbay_runner.lab.replan import Network
from patchbay_runner.lab.settling import missing
from patchbay_runner.model.topology import (
    Device,
    Interface,
    Ipv6Provisioning,
    LabSettings,
    Router,
    RouterAdvertisements,
    Topology,
)
from tests.unit.topologies import topologies

RA = LabSettings(ipv6_provisioning=Ipv6Provisioning.RA)
SILENT = RouterAdvertisements(enabled=False)


def two_homed(settings: LabSettings = RA, cell: RouterAdvertisements = RouterAdvertisements()) -> Topology:  # noqa: B008
    interfaces = (Interface(name="wlan0", gateway="wifi"), Interface(name="cell0", gateway="cell"))
    return Topology(
        routers=(Router(name="wifi", mtu=1420), Router(name="cell", ra=cell), Router(name="sub", upstream="wifi")),
        devices=(Device(name="phone", interfaces=interfaces),),
        lab=settings,
    )


def destinations(interface: InterfaceBlueprint) -> list[str]:
    return [str(route.destination) for route in interface.routes]


@given(topologies())
def test_only_devices_behind_advertising_routers_form_their_addresses(topology: Topology) -> None:
    static = plan_addresses(topology)
    plan = plan_addresses(msgspec.structs.replace(topology, lab=RA))
    names = {device.name for device in topology.devices}
    for key, port in plan.ports.items():
        before = static.ports[key]
        prefix = plan.lans[port.lan].v6
        if port.node in names and port.v6 is not None and prefix is not None:
            assert port.is_slaac
            assert port.v6.ip == slaac_address(prefix, port.mac)
            assert msgspec.structs.replace(port, v6=before.v6, is_slaac=False) == before
        else:
            assert port == before


def test_a_router_that_advertises_nothing_leaves_numbered_addresses_and_no_default_route() -> None:
    topology = two_homed(cell=SILENT)
    moved = msgspec.structs.replace(
        topology, devices=(msgspec.structs.replace(topology.devices[0], default_via="cell0"),)
    )
    blueprint = draw_blueprint(moved)
    wlan, cell = blueprint.nodes["phone"].interfaces
    assert (wlan.port.is_slaac, cell.port.is_slaac) == (True, False)
    assert str(cell.port.v6) == "2001:db8:1:2::2/64"
    assert destinations(cell) == ["0.0.0.0/0"]
    assert blueprint.nodes["cell"].advertiser is None


def test_devices_learn_their_ipv6_default_route_and_routers_do_not() -> None:
    blueprint = draw_blueprint(two_homed())
    wlan, cell = blueprint.nodes["phone"].interfaces
    assert destinations(wlan) == ["0.0.0.0/0"]
    assert (wlan.learns_default, cell.learns_default) == (True, False)
    assert destinations(blueprint.nodes["sub"].interfaces[0]) == ["0.0.0.0/0", "::/0"]
    assert not blueprint.nodes["sub"].interfaces[0].learns_default


def test_what_a_router_advertises() -> None:
    topology = two_homed(cell=RouterAdvertisements(interval_s=7, lifetime_s=0))
    nodes = draw_blueprint(topology).nodes
    narrow, cell = nodes["wifi"].advertiser, nodes["cell"].advertiser
    assert narrow is not None and cell is not None
    assert (narrow.interface, narrow.interval_s) == ("lan", 30)
    assert narrow.advertisement.prefixes == (PrefixInformation(IPv6Network("2001:db8:1:1::/64")),)
    assert (narrow.advertisement.mtu, narrow.advertisement.lifetime_s) == (1420, 1800)
    assert (cell.advertisement.mtu, cell.advertisement.lifetime_s, cell.interval_s) == (0, 0, 7)


@pytest.mark.parametrize("dad", [False, True])
@pytest.mark.parametrize("mode", Ipv6Provisioning)
def test_the_blueprint_differs_only_as_far_as_asked(mode: Ipv6Provisioning, dad: bool) -> None:
    settings = LabSettings(ipv6_provisioning=mode, ipv6_dad=dad)
    blueprint = draw_blueprint(two_homed(settings))
    told = dict(device_sysctls(settings))
    assert blueprint.nodes["phone"].first_sysctls == device_sysctls(settings)
    assert bool(told) == (settings != LabSettings())
    assert told.get("ipv6/conf/default/accept_ra") == ("1" if mode is Ipv6Provisioning.RA else None)
    assert told.get("ipv6/conf/default/dad_transmits") == ("1" if dad else "0" if told else None)
    assert {interface.has_dad for interface in blueprint.nodes["phone"].interfaces} == {dad}
    for router in ("ix", "wifi", "cell", "sub"):
        node = blueprint.nodes[router]
        assert (node.first_sysctls, {interface.has_dad for interface in node.interfaces}) == ((), {False})


def phone_changes(change: replan.Network, before: Blueprint) -> NodeChange:
    after = draw_blueprint(change.topology, change.plan)
    found = changes(before, after, lambda *_: False, lambda _: 0)
    return next(each for each in found if each.node == "phone")


@pytest.fixture
def network() -> Network:
    topology = two_homed()
    return Network(topology, plan_addresses(topology))


@pytest.fixture
def before(network: Network) -> Blueprint:
    return draw_blueprint(network.topology, network.plan)


def test_the_default_route_moves_from_one_interface_to_another(network: Network, before: Blueprint) -> None:
    change = phone_changes(replan.set_default_interface(network, "phone", "cell0"), before)
    assert set(change.sysctls) == {
        ("ipv6/conf/cell0/accept_ra_defrtr", "1"),
        ("ipv6/conf/wlan0/accept_ra_defrtr", "0"),
    }
    wlan = before.nodes["phone"].interfaces[0]
    assert change.forgetting == (wlan.index,)


def test_a_new_cable_of_the_default_interface_is_told_again(network: Network, before: Blueprint) -> None:
    change = phone_changes(replan.replug(network, "phone", "wlan0", "cell"), before)
    assert (change.sysctls, change.forgetting) == ((("ipv6/conf/wlan0/accept_ra_defrtr", "1"),), ())


def test_a_renewed_lease_keeps_the_ipv6_address(network: Network) -> None:
    old = network.plan.ports["phone", "wlan0"]
    new = replan.renew_address(network, "phone", "wlan0").plan.ports["phone", "wlan0"]
    assert new.v6 == old.v6
    assert new.v4 != old.v4


def test_what_an_interface_lacks(before: Blueprint) -> None:
    wlan, cell = before.nodes["phone"].interfaces
    port = wlan.port
    assert port.v6 is not None and port.link_local is not None

    def address(found: IPv6Address, flags: int = 0, index: int = wlan.index) -> LinkAddress:
        return LinkAddress(index, found, 64, flags)

    def lacks(addresses: list[LinkAddress], routes: list[Route], is_routed: bool = True) -> str | None:
        found = missing(wlan, addresses, routes, is_routed=is_routed)
        return found and found.what

    link_local, own = address(port.link_local), address(port.v6.ip)
    default = Route(IPv6Address(ANY_V6), 0, port.link_local, wlan.index)
    elsewhere = msgspec.structs.replace(default, oif=cell.index)
    assert lacks([], []) == "address"
    assert lacks([link_local], [default]) == "address"
    assert lacks([link_local, address(port.v6.ip, index=cell.index)], [default]) == "address"
    assert lacks([link_local, address(port.v6.ip, IFA_F_TENTATIVE)], [default]) == "verdict"
    assert lacks([address(port.link_local, IFA_F_TENTATIVE)], []) == "verdict"
    assert lacks([address(port.link_local, IFA_F_TENTATIVE | IFA_F_DADFAILED)], []) == "unique address"
    assert lacks([link_local, own], []) == "default route"
    assert lacks([link_local, own], [elsewhere]) == "default route"
    assert lacks([link_local, own], [Route(ANY_V4, 0, None, wlan.index)]) == "default route"
    assert lacks([link_local, own], [], is_routed=False) is None
    assert lacks([link_local, own], [default]) is None
