"""What a step says of the network as it is when the step runs, and of the binaries: whether it is there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network

import msgspec

from patchbay_runner.loader import dns
from patchbay_runner.loader.changes import addresses_taken
from patchbay_runner.loader.diagnostics import Report, unknown
from patchbay_runner.loader.network import Network, explain_variable
from patchbay_runner.loader.networkchecks import check_nat_v6
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.loader.steps.draft import Draft, Use, is_dynamic
from patchbay_runner.model.interpolation import ip_variables
from patchbay_runner.model.names import NameTable, changed_names
from patchbay_runner.model.ranges import most_members
from patchbay_runner.model.regions import region_links
from patchbay_runner.model.steps import BreakRegionLink, RestoreRegionLink, SetNames, SetNatV6
from patchbay_runner.model.topology import LEAST_IPV6_MTU, Device

# The key that names an interface, and the one that names a router, for each action that has one.
_INTERFACE_KEYS = {
    "link-down": "interface",
    "link-up": "interface",
    "set-default-route": "to",
    "set-link-condition": "interface",
    "replug": "interface",
    "add-iface": "interface",
    "remove-iface": "interface",
    "renew-ip": "interface",
}
_ROUTER_KEYS = {
    "replug": "to",
    "add-iface": "gateway",
    "set-downlink": "router",
    "set-uplink": "router",
    "set-nat": "router",
    "set-nat-v6": "router",
    "reboot-router": "router",
    "flush-nat": "router",
    "set-firewall": "router",
}
_OF_DEFAULT_INTERFACE = ("replug", "renew-ip")


def check_nodes(draft: Draft, network: Network, report: Report) -> None:
    """Reports a node, or an interface of it, that the network does not have."""
    _check_device(draft, network, report)
    if draft.action in _ROUTER_KEYS:
        _check_router(draft, network, report)
    if draft.step is not None:
        _check_room(draft, network, report)
    if isinstance(draft.step, BreakRegionLink | RestoreRegionLink) and not network.is_open:
        _check_region_link(draft, draft.step, network, report)
    if isinstance(draft.step, SetNames) and network.are_names_known and not (network.is_open or network.vague):
        _check_step_names(draft.step, draft.place("entries"), network, report)


def check_names(draft: Draft, network: Network, binaries: Collection[str], report: Report) -> None:
    """Reports binaries and address variables that are not there."""
    for use in draft.uses:
        if use.kind == "binary" and use.name not in binaries:
            report.error(use.node, *unknown("binary", use.name, binaries))
        elif use.kind == "variable" and network.is_certain_of_variable(use.name):
            _check_variable(use, draft, network, report)


def _check_device(draft: Draft, network: Network, report: Report) -> None:
    device = draft.device
    if not device or is_dynamic(device) or not network.is_certain_of(device):
        return
    node = draft.place("device")
    if not network.has_node(device) and device not in network.counts:
        is_for_devices = draft.action in (*_INTERFACE_KEYS, "set-dns")
        message, expected = unknown("device", device, network.device_names() if is_for_devices else network.names())
        if not network.topology.routers:
            expected = "a topology: [[router]] and [device.*] here, or [sim] topology"
        report.error(node, message, expected)
    elif draft.action not in (*_INTERFACE_KEYS, "set-dns"):
        return
    elif network.first_of(device) is None:
        kind = "the internet exchange" if device == "ix" else "a router"
        report.error(node, f"{quote(device)} is {kind}", "a device")
    elif draft.action in _INTERFACE_KEYS:
        _check_interface(draft, network, report)


def _check_interface(draft: Draft, network: Network, report: Report) -> None:
    key = _INTERFACE_KEYS[draft.action]
    if draft.action in _OF_DEFAULT_INTERFACE and key not in draft.node.value and not network.is_default_known:
        why = "an earlier step moves the default route of a device that is known only when it runs"
        report.error(draft.node, f"the step needs {quote(key)}, since {why}")
    named = _written(draft, key)
    if named is None:
        return
    devices = network.devices_of(draft.device)
    for device in devices:
        if draft.action == "add-iface":
            problem = _problem_of_added(device, named.value, network)
        elif draft.action == "remove-iface" and [each.name for each in device.interfaces] == [named.value]:
            problem = (f"{quote(named.value)} is the only interface of {quote(device.name)}", "one of several")
        else:
            problem = _problem_of_named(device, named.value, network, devices)
        if problem is not None:
            report.error(named, *problem)
            return


def _problem_of_added(device: Device, interface: str, network: Network) -> tuple[str, str] | None:
    if device.has_interface(interface):
        return f"{quote(device.name)} has an interface {quote(interface)} already", "another name"
    variable = ip_variables(device.name, interface)[0]
    if variable in network.variables:
        message = f"{quote(f'{device.name}.{interface}')} shares the variable ${variable} with another"
        return message, "names that differ in their letters and digits"
    return None


def _problem_of_named(
    device: Device, interface: str, network: Network, devices: Sequence[Device]
) -> tuple[str, str] | None:
    names = [each.name for each in device.interfaces]
    if interface in names:
        return None
    if (device.name, interface) in network.removed:
        place = network.removed[device.name, interface]
        return f"the interface {quote(interface)} of {quote(device.name)} is removed by the step at {place}", ""
    message, expected = unknown("interface", interface, names)
    is_same = all([each.name for each in other.interfaces] == names for other in devices)
    if not is_same:
        message = message.replace(quote(interface), f"{quote(interface)} of {quote(device.name)}", 1)
    return message, expected


def _check_router(draft: Draft, network: Network, report: Report) -> None:
    named = _written(draft, _ROUTER_KEYS[draft.action])
    if named is None or not network.is_certain_of(named.value):
        return
    name = named.value
    if name == "ix":
        report.error(named, '"ix" is the internet exchange', "a router")
    elif name in network.devices or name in network.counts:
        report.error(named, f"{quote(name)} is a device", "a router")
    elif name not in network.routers:
        report.error(named, *unknown("router", name, network.routers))
    elif draft.action in _INTERFACE_KEYS:
        _check_mtu(draft, named, network, report)
    elif draft.action == "set-uplink" and network.routers[name].is_isolated:
        report.error(named, f"the router {quote(name)} is isolated: it has no uplink", "another router")
    elif draft.action in ("set-nat", "set-nat-v6", "set-firewall") and network.routers[name].is_isolated:
        report.warn(named, "the router is isolated, so the step changes nothing")
    elif draft.action == "set-nat" and not network.routers[name].uplink_support.v4:
        report.warn(named, "the router carries no IPv4, so its IPv4 NAT has nothing to do")
    elif isinstance(draft.step, SetNatV6):
        changed = msgspec.structs.replace(network.routers[name], nat_v6=draft.step.nat_v6)
        check_nat_v6(changed, draft.node.value["nat_v6"], network.routers, report)


def _check_region_link(
    draft: Draft, step: BreakRegionLink | RestoreRegionLink, network: Network, report: Report
) -> None:
    node: Node = draft.node.value["regions"]
    names = [region.name for region in network.topology.regions]
    unheard = [child for child in node.value if child.value not in names]
    for child in unheard:
        report.error(child, *unknown("region", child.value, names))
    if unheard:
        return
    pair, (a, b) = frozenset(step.regions), map(quote, step.regions)
    if all(link.pair != pair for link in region_links(network.topology.regions)):
        report.error(node, f"the regions {a} and {b} are not linked", "regions of which one has a latency to the other")
    elif not network.is_broken_known:
        return
    elif isinstance(step, BreakRegionLink) and pair in network.broken:
        report.error(node, f"the link between {a} and {b} is broken already, by the step at {network.broken[pair]}")
    elif isinstance(step, RestoreRegionLink) and pair not in network.broken:
        report.error(node, f"the link between {a} and {b} is not broken", "a break-region-link step before this one")


def _check_mtu(draft: Draft, named: Node, network: Network, report: Report) -> None:
    if not network.routers[named.value].ip_support.v6:
        return
    for device in network.devices_of(draft.device):
        if device.mtu is not None and device.mtu < LEAST_IPV6_MTU:
            message = f"the router {quote(named.value)} carries IPv6, and an MTU of {device.mtu} is too small for it"
            report.error(named, message, f'a router with ip_support = "v4-only", or an MTU of {LEAST_IPV6_MTU} or more')
            return


def _check_room(draft: Draft, network: Network, report: Report) -> None:
    for name, needed in addresses_taken(draft, network).items():
        router = network.routers.get(name)
        if router is None or router.cidr is None or not router.ip_support.v4:
            continue
        left = most_members(IPv4Network(router.cidr)) - network.numbers.get(name, 0)
        if needed > left:
            message = (
                f"the LAN of the router {quote(name)} has {max(left, 0)} addresses left, and the step needs {needed}"
            )
            report.error(draft.node, message, f"a shorter prefix than {router.cidr}")


def _check_step_names(step: SetNames, node: Node, network: Network, report: Report) -> None:
    """Reports names that stand for none, as everybody sees them or as the device does."""
    records = dns.step_records(step)
    entries = [dns.Entry(record, node.value[record.name]) for record in records]
    given, own = network.given_names, next((device.names for device in network.devices_of(step.device)), ())
    if step.device:
        own = changed_names(own, records)
    else:
        given = changed_names(given, records)
    dns.check_aliases(entries, NameTable(network.known_names(), given, own), report)


def _check_variable(use: Use, draft: Draft, network: Network, report: Report) -> None:
    exists = network.variables.get(use.name.upper())
    # What stands in a template is right or wrong for the step that uses it.
    is_own = use.node.key.startswith(f"{draft.node.key}.")
    user = "" if is_own else f", for the step at {draft.node.origin}"
    if exists is None:
        message, expected = explain_variable(use.name, network)
        report.error(use.node, f"{message}{user}", expected)
    elif not exists:
        family = "IPv6" if use.name.upper().startswith("NETSIM_IP6_") else "IPv4"
        report.error(use.node, f"${use.name} is not there: its router carries no {family}{user}")


def _written(draft: Draft, key: str) -> Node | None:
    """The string of a key; None for one whose placeholders are wrong, which was told."""
    node: Node | None = draft.node.value.get(key)
    if node is None or not isinstance(node.value, str) or (draft.step is None and is_dynamic(node.value)):
        return None
    return node
