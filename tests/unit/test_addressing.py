"""The address plan: disjoint, deterministic, every member inside its LAN."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given

from patchbay_runner.errors import LabError
from patchbay_runner.lab.addressing import IX, routers_outside_in
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.ranges import MAPPED_V6
from patchbay_runner.model.topology import Device, Interface, IpSupport, Router, Topology
from tests.unit.topologies import one_lan, topologies


@given(topologies())
def test_no_two_lans_share_an_address(topology: Topology) -> None:
    lans = list(plan_addresses(topology).lans.values())
    for family in ("v4", "v6"):
        spans = sorted(
            (int(network.network_address), int(network.broadcast_address))
            for lan in lans
            if (network := getattr(lan, family)) is not None
        )
        assert all(left[1] < right[0] for left, right in pairwise(spans))


@given(topologies())
def test_what_prefixes_are_mapped_to_is_nobody_elses(topology: Topology) -> None:
    plan = plan_addresses(topology)
    mapped = [plan.mapped(router.name, lan.name) for router in topology.routers for lan in topology.routers]
    assert len(set(mapped)) == len(mapped)
    assert all(prefix.prefixlen == 64 and MAPPED_V6.supernet_of(prefix) for prefix in mapped)
    assert not any(lan.v6 is not None and lan.v6.overlaps(MAPPED_V6) for lan in plan.lans.values())


@given(topologies())
def test_every_member_is_inside_its_lan_and_no_address_is_given_twice(topology: Topology) -> None:
    plan = plan_addresses(topology)
    seen = set()
    for lan in plan.lans.values():
        for port in (lan.gateway, *lan.members):
            for address, network in ((port.v4, lan.v4), (port.v6, lan.v6)):
                if address is not None:
                    assert address.network == network
                    assert address.ip not in (address.network.network_address, address.network.broadcast_address)
                    assert address.ip not in seen
                    seen.add(address.ip)
    macs = [port.mac for port in plan.ports.values()]
    assert len(set(macs)) == len(macs)


@given(topologies())
def test_the_plan_is_a_function_of_the_topology(topology: Topology) -> None:
    assert plan_addresses(topology) == plan_addresses(topology)


@given(topologies())
def test_upstreams_come_before_what_is_behind_them(topology: Topology) -> None:
    seen = {None}
    for router in routers_outside_in(topology):
        assert router.upstream in seen
        seen.add(router.name)


def test_numbers_follow_file_order() -> None:
    topology = Topology(
        routers=(
            Router(name="home", upstream="isp", nat=nat_mode("home")),
            Router(name="dc"),
            Router(name="isp", nat=nat_mode("cgnat")),
        ),
        devices=(
            Device(name="zoe", interfaces=(Interface(name="eth0", gateway="isp"),)),
            Device(name="adam", interfaces=(Interface(name="eth0", gateway="isp"),)),
        ),
    )
    plan = plan_addresses(topology)
    assert plan.ports[IX, "ix"].v4 == IPv4Interface("198.18.0.1/24")
    assert plan.ports["dc", "ix"].v4 == IPv4Interface("198.18.0.10/24")
    assert plan.ports["isp", "ix"].v4 == IPv4Interface("198.18.0.11/24")
    assert str(plan.ports["isp", "ix"].v6) == "2001:db8::11/64"
    assert plan.lans["home"].v4 == IPv4Network("10.0.1.0/24")
    assert plan.lans["dc"].v4 == IPv4Network("198.18.1.0/24")
    assert plan.lans["isp"].v4 == IPv4Network("10.0.2.0/24")
    assert str(plan.lans["isp"].v6) == "fd10:0:0:2::/64"
    assert [member.node for member in plan.lans["isp"].members] == ["home", "zoe", "adam"]
    assert plan.ports["home", "wan"].v4 == IPv4Interface("10.0.2.2/24")
    assert plan.ports["adam", "eth0"].v4 == IPv4Interface("10.0.2.4/24")


def test_the_exchange_holds_245_routers_in_a_24_and_more_in_a_shorter_prefix() -> None:
    def exchange(count: int) -> IPv4Network | None:
        routers = tuple(Router(name=f"r{i}", nat=nat_mode("home")) for i in range(count))
        return plan_addresses(Topology(routers=routers)).lans[IX].v4

    assert exchange(245) == IPv4Network("198.18.0.0/24")
    assert exchange(246) == IPv4Network("198.18.0.0/23")


@pytest.mark.parametrize("count", [253, 254, 1000, 3000])
def test_a_lan_is_as_large_as_its_members_need(count: int) -> None:
    lan = plan_addresses(one_lan(count)).lans["r"]
    assert lan.v4 is not None
    assert len(lan.members) == count
    assert lan.v4.prefixlen == (24 if count <= 253 else 32 - (count + 34).bit_length())


def test_200_public_routers_fit() -> None:
    topology = Topology(routers=tuple(Router(name=f"r{i}") for i in range(200)))
    networks = {lan.v4 for lan in plan_addresses(topology).lans.values()}
    assert len(networks) == 201


def test_a_full_pool_is_an_error() -> None:
    topology = Topology(routers=tuple(Router(name=f"r{i}") for i in range(600)))
    with pytest.raises(LabError, match="no IPv4 prefix left"):
        plan_addresses(topology)


def test_a_lan_has_the_prefixes_that_its_router_names_and_no_other_lan_has_them() -> None:
    topology = Topology(
        routers=(
            Router(name="first"),
            Router(name="own", cidr="198.18.1.0/24", cidr_v6="2001:db8:1:2::/64"),
            Router(name="second"),
            Router(name="inner", upstream="own", nat=nat_mode("home"), cidr="10.0.1.128/25"),
            Router(name="third", upstream="own", nat=nat_mode("home")),
        )
    )
    plan = plan_addresses(topology)
    found = {name: (str(lan.v4), str(lan.v6)) for name, lan in plan.lans.items()}
    assert found == {
        IX: ("198.18.0.0/24", "2001:db8::/64"),
        "first": ("198.18.2.0/24", "2001:db8:1:1::/64"),
        "own": ("198.18.1.0/24", "2001:db8:1:2::/64"),
        "second": ("198.18.3.0/24", "2001:db8:1:3::/64"),
        "inner": ("10.0.1.128/25", "fd10:0:0:1::/64"),
        "third": ("10.0.2.0/24", "fd10:0:0:2::/64"),
    }
    assert plan.lans["own"].gateway.v4 == IPv4Interface("198.18.1.1/24")
    assert plan.ports["inner", "wan"].v4 == IPv4Interface("198.18.1.2/24")


def test_a_long_exchange_gives_way_to_a_named_prefix() -> None:
    routers = tuple(Router(name=f"r{i}", nat=nat_mode("home")) for i in range(300))
    own = Router(name="own", cidr="198.18.1.0/24")
    assert plan_addresses(Topology(routers=(*routers, own))).lans[IX].v4 == IPv4Network("198.18.2.0/23")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"cidr": "10.7.0.0/24"}, {"cidr": "10.0.0.0/12"}, "b: .*10.0.0.0/12 overlaps a"),
        ({"cidr_v6": "fd77::/64"}, {"cidr_v6": "fd77::/64"}, "b: .*fd77::/64 overlaps a"),
        ({"cidr": "198.18.0.0/16"}, {}, "a: .*overlaps the internet exchange"),
        ({}, {"cidr": "10.7.0.0/30"}, "b: there is no address left on its LAN 10.7.0.0/30 for d1"),
    ],
)
def test_a_prefix_that_a_lan_cannot_have_is_an_error(
    first: dict[str, str], second: dict[str, str], message: str
) -> None:
    devices = tuple(Device(name=f"d{i}", interfaces=(Interface(name="eth0", gateway="b"),)) for i in range(2))
    topology = Topology(routers=(Router(name="a", **first), Router(name="b", **second)), devices=devices)
    with pytest.raises(LabError, match=message):
        plan_addresses(topology)


def test_families_follow_the_router() -> None:
    topology = Topology(
        routers=(Router(name="old", ip_support=IpSupport.V4_ONLY), Router(name="new", ip_support=IpSupport.V6_ONLY)),
        devices=(
            Device(name="a", interfaces=(Interface(name="eth0", gateway="old"),)),
            Device(name="b", interfaces=(Interface(name="eth0", gateway="new"),)),
        ),
    )
    plan = plan_addresses(topology)
    old, new = plan.ports["a", "eth0"], plan.ports["b", "eth0"]
    assert (old.v4 is not None, old.v6, old.link_local) == (True, None, None)
    assert (new.v4, new.v6 is not None, new.link_local is not None) == (None, True, True)
    assert plan.ports["new", "ix"].v4 is None


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        (Topology(routers=(Router(name="a", upstream="b"),)), "'b' is not a router"),
        (Topology(routers=(Router(name="a", upstream="b"), Router(name="b", upstream="a"))), "leads back to itself"),
        (Topology(devices=(Device(name="d", interfaces=(Interface(name="e", gateway="x"),)),)), "'x' of e is not"),
    ],
)
def test_what_cannot_be_wired_is_an_error(topology: Topology, message: str) -> None:
    with pytest.raises(LabError, match=message):
        plan_addresses(topology)
