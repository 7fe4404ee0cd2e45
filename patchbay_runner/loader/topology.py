"""Routers, devices and regions: from tables to the records of a topology."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from patchbay_runner.loader import dns
from patchbay_runner.loader.cidrs import cidr, cidr_v6
from patchbay_runner.loader.conditions import condition
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import (
    boolean,
    choice,
    filled_text,
    integer,
    read_table,
    require,
    unknown_key,
)
from patchbay_runner.loader.firewall import firewall
from patchbay_runner.loader.names import check_interface_name, check_node_name
from patchbay_runner.loader.nat import nat
from patchbay_runner.loader.node import Node, describe, items_of, quote, table_of
from patchbay_runner.loader.presets import preset
from patchbay_runner.loader.provisioning import ADVERTISEMENT_FIELDS, advertisements, lab_settings
from patchbay_runner.loader.regions import Declared, read_regions
from patchbay_runner.model.names import is_like_an_address
from patchbay_runner.model.topology import (
    Device,
    Interface,
    IpSupport,
    LabSettings,
    NatV6,
    Pool,
    Router,
    Topology,
)

MOST_INSTANCES = 10_000
# A veth carries at most 65,535 bytes; RFC 791 wants 68.
_MTU = integer(68, 65_535)

ROUTER_FIELDS: dict[str, Any] = {
    "name": filled_text,
    "preset": preset,
    "upstream": filled_text,
    "isolated": boolean,
    "region": filled_text,
    "nat": nat,
    "nat_v6": choice({kind.value: kind for kind in NatV6}),
    "ip_support": choice({kind.value: kind for kind in IpSupport}),
    "pool": choice({kind.value: kind for kind in Pool}),
    "cidr": cidr,
    "cidr_v6": cidr_v6,
    "mtu": _MTU,
    "firewall": firewall,
    "block_icmp_frag_needed": boolean,
    "downlink_condition": condition,
    "downlink": condition,
    "uplink_condition": condition,
    "uplink": condition,
    **ADVERTISEMENT_FIELDS,
}
DEVICE_FIELDS: dict[str, Any] = {
    "count": integer(1, MOST_INSTANCES),
    "default_via": filled_text,
    "mtu": _MTU,
    "dns": dns.names,
}
INTERFACE_FIELDS: dict[str, Any] = {"gateway": filled_text, "impair": condition}


class Counted(msgspec.Struct, frozen=True):
    """A device as written: `count` None is one device of that name."""

    device: Device
    count: int | None
    node: Node


class Written(msgspec.Struct):
    """What the tables say, before names are checked and counts expanded.

    `names` are for everybody, `own_names` those of devices. `is_open` means that a node's name could not be read,
    `vague` are devices of which something could not: nothing is said of steps that may mean these.
    """

    routers: list[tuple[Router, Node]] = []
    devices: list[Counted] = []
    regions: list[Declared] = []
    lab: LabSettings = LabSettings()
    names: list[dns.Entry] = []
    own_names: dict[str, tuple[dns.Entry, ...]] = {}
    is_open: bool = False
    vague: set[str] = set()

    def topology(self) -> Topology:
        """The topology with counted devices expanded."""
        devices = [device for counted in self.devices for device in instances(counted)]
        return Topology(
            routers=tuple([router for router, _ in self.routers]),
            devices=tuple(devices),
            regions=tuple([declared.region for declared in self.regions]),
            lab=self.lab,
            names=tuple([entry.record for entry in self.names]),
        )


def instances(counted: Counted) -> list[Device]:
    """The devices that a counted one stands for."""
    if counted.count is None:
        return [counted.device]
    base = counted.device
    return [msgspec.structs.replace(base, name=f"{base.name}-{index}") for index in range(counted.count)]


def read_topology(tables: Mapping[str, Node], report: Report, names: Iterable[Node] = ()) -> Written:
    """Reads `[lab]`, `[[router]]`, `[device.*]`, `[region.*]`, and the tables of names, of which later ones win."""
    written = Written(lab=lab_settings(tables.get("lab"), report))
    for node in items_of(tables.get("router")):
        _read_router(node, written, report)
    for name, node in table_of(tables.get("device")).items():
        before = len(report.errors)
        _read_device(name, node, written, report)
        if len(report.errors) > before:
            written.vague.add(name)
    written.regions = read_regions(tables.get("region"), report)
    written.names = dns.merged([dns.names(node, report) or () for node in names])
    return written


def _read_router(node: Node, written: Written, report: Report) -> None:
    values = read_table(node, ROUTER_FIELDS, report, "a router")
    if values is None or not require(node, values, ("name",), report, "a router"):
        written.is_open = True
        return
    check_node_name(node.value["name"], values["name"], "router", report)
    for alias in ("downlink", "uplink"):
        if {alias, f"{alias}_condition"} <= values.keys():
            message = f"{quote(alias)} is another name of {quote(f'{alias}_condition')}, which is here as well"
            report.error(node.value[alias], message)
    values = values.get("preset", {}) | values
    router = Router(
        name=values["name"],
        upstream=values.get("upstream"),
        is_isolated=values.get("isolated", False),
        region=values.get("region"),
        cidr=values.get("cidr"),
        cidr_v6=values.get("cidr_v6"),
        mtu=values.get("mtu"),
        block_icmp_frag_needed=values.get("block_icmp_frag_needed", False),
        downlink=values.get("downlink_condition", values.get("downlink")),
        uplink=values.get("uplink_condition", values.get("uplink")),
        ra=advertisements(values),
        origin=node.origin,
        **{key: values[key] for key in ("nat", "nat_v6", "ip_support", "pool", "firewall") if key in values},
    )
    written.routers.append((router, node))


def _read_device(name: str, node: Node, written: Written, report: Report) -> None:
    check_node_name(node, name, "device", report)
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", f"a table of interfaces such as [device.{name}.eth0]")
        return
    values: dict[str, Any] = {}
    interfaces = []
    for key, child in node.value.items():
        if key in DEVICE_FIELDS:
            values[key] = _device_value(key, child, report)
        elif isinstance(child.value, dict):
            interfaces.append(_read_interface(key, child, report))
        else:
            unknown_key(child, key, DEVICE_FIELDS, report)
    if not interfaces:
        report.error(node, "the device has no interface", f'[device.{name}.eth0] with a "gateway"')
    device = Device(
        name=name,
        interfaces=tuple(interface for interface in interfaces if interface is not None),
        default_via=values.get("default_via"),
        mtu=values.get("mtu"),
        names=tuple([entry.record for entry in values.get("dns") or ()]),
        origin=node.origin,
    )
    written.own_names[name] = values.get("dns") or ()
    written.devices.append(Counted(device, values.get("count"), node))


def _device_value(key: str, node: Node, report: Report) -> Any:
    if isinstance(node.value, dict) and (key != "dns" or _is_interface(node)):
        report.error(node, f"{quote(key)} is a key of devices and cannot name an interface", "another name")
        return None
    return DEVICE_FIELDS[key](node, report)


def _is_interface(node: Node) -> bool:
    """Whether a table that should hold names is meant as an interface."""
    gateway = table_of(node).get("gateway")
    is_named = gateway is not None and isinstance(gateway.value, str) and not is_like_an_address(gateway.value)
    return is_named and not node.value.keys() - INTERFACE_FIELDS.keys()


def _read_interface(name: str, node: Node, report: Report) -> Interface | None:
    check_interface_name(node, name, report)
    values = read_table(node, INTERFACE_FIELDS, report, "an interface") or {}
    if not require(node, values, ("gateway",), report, "an interface"):
        return None
    return Interface(name=name, gateway=values["gateway"], impair=values.get("impair"), origin=node.origin)
