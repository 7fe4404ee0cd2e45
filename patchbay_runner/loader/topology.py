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
from patchbay_runner.loader.shapes import described
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

_DOWNLINK = described(
    condition,
    "a [link condition](#link-conditions) of everything that the router sends into its LAN",
    kind="preset or table",
)
_UPLINK = described(
    condition,
    "a [link condition](#link-conditions) of everything that it sends to its upstream",
    kind="preset or table",
)

ROUTER_FIELDS: dict[str, Any] = {
    "name": described(
        filled_text, "at most 64 bytes, without `/`, blanks, `$` and braces; not `ix`; not starting with `region_`"
    ),
    "preset": described(
        preset,
        "a kind of network: sets other keys, which override it where they stand beside it",
        kind="name of a [preset](presets.md#routers)",
    ),
    "upstream": described(filled_text, "the router that this one is behind; to any depth", "the internet exchange"),
    "isolated": described(
        boolean, "it has a LAN and no uplink at all; see [isolated routers](#isolated-routers)", "`false`"
    ),
    "nat": described(nat, "how IPv4 addresses are translated; see [NAT](#nat)", '`"none"`', kind="mode or table"),
    "ip_support": described(
        choice({kind.value: kind for kind in IpSupport}),
        "the address families that the router carries",
        '`"dual-stack"`',
    ),
    "pool": described(
        choice({kind.value: kind for kind in Pool}),
        "where the LAN's addresses come from; see [addresses](network.md#addresses)",
        '`"private"` with an IPv4 NAT, else `"public"`; for IPv6 also with `nptv6` and `masquerade`',
    ),
    "cidr": described(
        cidr, 'the LAN\'s own IPv4 prefix, such as `"192.168.1.0/24"`; see [prefixes](#prefixes)', "from the pool"
    ),
    "cidr_v6": described(
        cidr_v6, 'the LAN\'s own IPv6 prefix, such as `"fd77::/64"`; see [prefixes](#prefixes)', "from the pool"
    ),
    "mtu": described(_MTU, "of the router's links, in bytes; at least 1280 where it carries IPv6", "the kernel's 1500"),
    "region": described(filled_text, "the [region](#regionname) that the router is in", "that of its upstream"),
    "nat_v6": described(
        choice({kind.value: kind for kind in NatV6}),
        "how IPv6 addresses are translated; see [IPv6 NAT](nat-v6.md)",
        '`"none"`',
    ),
    "firewall": described(firewall, "what passes; see [firewalls](#firewalls)", '`"none"`', kind="mode or table"),
    "block_icmp_frag_needed": described(
        boolean,
        "makes it a black hole of path MTU discovery; see [below](#path-mtu-black-holes)",
        "`false`",
    ),
    "downlink_condition": _DOWNLINK,
    "downlink": _DOWNLINK.alias_of("downlink_condition"),
    "uplink_condition": _UPLINK,
    "uplink": _UPLINK.alias_of("uplink_condition"),
    **ADVERTISEMENT_FIELDS,
}
DEVICE_FIELDS: dict[str, Any] = {
    "count": described(
        integer(1, MOST_INSTANCES),
        "makes devices `<name>-0`, `<name>-1`, … also when it is 1; see [counted devices](#counted-devices)",
    ),
    "default_via": described(filled_text, "the interface that the default route leaves by", "the first interface"),
    "mtu": described(
        _MTU, "of all its interfaces, in bytes; at least 1280 behind a router that carries IPv6", "the kernel's 1500"
    ),
    "dns": described(
        dns.names,
        "[names](#names) that it alone knows, or knows otherwise than everybody else",
        kind="table of names",
    ),
}
INTERFACE_FIELDS: dict[str, Any] = {
    "gateway": described(filled_text, "the router whose LAN the interface is plugged into"),
    "impair": described(
        condition,
        "the [link condition](#link-conditions) that it begins with, of what the device sends",
        kind="preset or table",
    ),
}


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
