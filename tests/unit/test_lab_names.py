"""Which names a lab has, who sees which, whom nodes ask, and what their files say."""

from __future__ import annotations

import msgspec
import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.dns import Zone
from patchbay_runner.kernel.dns.lookup import Kind, look_up
from patchbay_runner.lab import names
from patchbay_runner.lab.blueprint import Blueprint
from patchbay_runner.lab.drawing import draw_blueprint
from patchbay_runner.lab.names import HostEntries
from patchbay_runner.model.names import NameRecord, labels_of
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, NatV6, Router, Topology

TOPOLOGY = Topology(
    routers=(
        Router(name="dc"),
        Router(name="home", nat=nat_mode("home")),
        Router(name="carrier", ip_support=IpSupport.V6_ONLY, nat_v6=NatV6.NAT64),
        Router(name="hotspot", upstream="carrier"),
    ),
    devices=(
        Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),)),
        Device(
            name="Phone",
            default_via="cell0",
            interfaces=(Interface(name="wlan0", gateway="home"), Interface(name="cell0", gateway="carrier")),
            names=(NameRecord("mine", ("10.0.0.1",)), NameRecord("server", ("10.0.0.2",))),
        ),
        Device(name="PHONE-2", interfaces=(Interface(name="eth0", gateway="hotspot"),)),
    ),
    names=(NameRecord("www.example", alias="server"), NameRecord("mine", ("10.0.0.3",))),
)
BLUEPRINT = draw_blueprint(TOPOLOGY)


def addresses(zone: Zone, name: str) -> list[str]:
    outcome = look_up(zone, labels_of(name), Kind.ANY if "." not in name else Kind.A)
    return [str(value) for record in outcome.records if record.kind is not Kind.CNAME for value in record.values]


def resolvers(node: str, *down: str, blueprint: Blueprint = BLUEPRINT) -> list[tuple[str, str]]:
    servers = names.servers_of(blueprint, node, lambda _, interface: interface in down)
    return [(server.owner, str(server.address)) for server in servers]


def test_nodes_have_their_names_and_their_interfaces_have() -> None:
    records = {record.name: record.addresses for record in names.node_records(BLUEPRINT)}
    assert records["server"] == records["eth0.server"] == ("198.18.1.2", "2001:db8:1:1::2")
    assert records["Phone"] == records["cell0.Phone"]
    assert records["wlan0.Phone"] == ("10.0.1.2", "fd10:0:0:1::2")
    assert records["home"] == records["ix.home"] == ("198.18.0.11", "2001:db8::11")
    assert records["lan.home"] == ("10.0.1.1", "fd10:0:0:1::1")
    assert records["ix"] == ("198.18.0.1", "2001:db8::1")


def test_the_first_of_two_names_that_differ_in_capitals_has_it_and_devices_come_first() -> None:
    devices = (Device(name="Web", interfaces=(Interface(name="eth0", gateway="web"),)),)
    blueprint = draw_blueprint(Topology(routers=(Router(name="web"),), devices=devices))
    found = [record for record in names.node_records(blueprint) if labels_of(record.name) == (b"web",)]
    assert [(record.name, record.addresses[0]) for record in found] == [("Web", "198.18.1.2")]


def test_views() -> None:
    everybody, own = names.draw_zones(BLUEPRINT, TOPOLOGY)
    assert addresses(everybody, "mine") == ["10.0.0.3"]
    assert addresses(everybody, "www.example") == ["198.18.1.2"]
    assert {str(address) for address in own} == {
        str(interface.ip)
        for each in BLUEPRINT.nodes["Phone"].interfaces
        for interface in (each.port.v4, each.port.v6)
        if interface is not None
    }
    (zone,) = set(own.values())
    assert addresses(zone, "mine") == ["10.0.0.1"]
    assert addresses(zone, "www.example") == ["10.0.0.2"]
    assert addresses(zone, "home") == ["198.18.0.11", "2001:db8::11"]


def test_whom_nodes_ask() -> None:
    assert resolvers("server") == [("dc", "198.18.1.1"), ("dc", "2001:db8:1:1::1")]
    assert [owner for owner, _ in resolvers("Phone")] == ["carrier"]
    assert [owner for owner, _ in resolvers("Phone", "wlan0")] == ["carrier"]
    assert [owner for owner, _ in resolvers("Phone", "cell0")] == ["home", "home"]
    assert resolvers("Phone", "cell0", "wlan0") == []
    assert resolvers("home") == resolvers("ix") == [("ix", "198.18.0.1"), ("ix", "2001:db8::1")]
    assert [owner for owner, _ in resolvers("hotspot")] == ["carrier"]


def test_dns64_is_for_those_whose_packets_are_translated() -> None:
    assert names.owners_behind_nat64(TOPOLOGY) == {"carrier", "hotspot"}


def test_hosts_without_addresses_or_with_a_name_that_is_given() -> None:
    node = BLUEPRINT.nodes["server"]
    bare = msgspec.structs.replace(node, interfaces=())
    assert names.hosts(bare, "server", HostEntries()).splitlines()[2:] == ["127.0.1.1\tserver"]
    given = names.host_entries([NameRecord("Server.", ("10.0.0.1",)), NameRecord("x", alias="server")])
    assert names.hosts(node, "server", given).splitlines()[2:] == ["10.0.0.1\tServer"]
    assert names.hosts(node, "a..b", given).splitlines()[2:] == [
        "198.18.1.2\ta..b",
        "2001:db8:1:1::2\ta..b",
        "10.0.0.1\tServer",
    ]


@pytest.mark.parametrize(
    ("everybody", "own", "problem"),
    [
        ((NameRecord("a", alias="b"), NameRecord("b", alias="a")), (), "in a circle"),
        ((NameRecord("a", alias="b"), NameRecord("b", alias="server")), (NameRecord("b", alias="a"),), "in a circle"),
        ((), (NameRecord("a"),), "either addresses or one alias"),
        ((NameRecord("a..b", alias="server"),), (), "1 to 63 bytes"),
        ((NameRecord("a", alias="server"),), (NameRecord("b", alias="a"),), None),
        ((NameRecord("a", alias="not.yet"),), (), None),
    ],
)
def test_names_of_a_topology_are_checked(
    everybody: tuple[NameRecord, ...], own: tuple[NameRecord, ...], problem: str | None
) -> None:
    device = Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),), names=own)
    topology = Topology(routers=(Router(name="dc"),), devices=(device,), names=everybody)
    if problem is None:
        names.check_names(topology)
        return
    with pytest.raises(LabError, match=problem):
        names.check_names(topology)
