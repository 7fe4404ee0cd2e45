"""What is checked of a topology before anything looks at steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from patchbay_runner.loader import dns
from patchbay_runner.loader.cidrs import check_cidrs
from patchbay_runner.loader.diagnostics import Report, unknown
from patchbay_runner.loader.network import Network, address_variables
from patchbay_runner.loader.node import Node, quote, table_of
from patchbay_runner.loader.provisioning import check_advertisements
from patchbay_runner.loader.regions import check_region_of, check_regions
from patchbay_runner.loader.topology import Counted, Written, instances
from patchbay_runner.model.interpolation import ip_variables
from patchbay_runner.model.names import NameTable
from patchbay_runner.model.topology import LEAST_IPV6_MTU, Device, NatV6, Router


def check_network(written: Written, report: Report) -> Network:
    """Checks every name that a topology refers to; the network is usable for further checks even when wrong."""
    _check_duplicates(written, report)
    routers = {router.name: router for router, _ in written.routers}
    _check_routers(written, routers, report)
    numbers = _interfaces_by_lan(written)
    check_cidrs(written.routers, numbers, report)
    check_regions(written.regions, routers, report)
    for router, node in written.routers:
        check_advertisements(router, node, written.lab, report)
    for counted in written.devices:
        _check_device(counted, routers, report)
    variables = _variables(written, routers, report)
    topology = written.topology()
    network = Network(
        topology=topology,
        counts={counted.device.name: counted.count for counted in written.devices if counted.count is not None},
        routers=routers,
        devices={device.name: device for device in topology.devices},
        variables=variables,
        numbers=numbers,
        is_open=written.is_open,
        vague=frozenset(written.vague),
        given_names=topology.names,
    )
    _check_aliases(written, network, report)
    return network


def _check_duplicates(written: Written, report: Report) -> None:
    taken: dict[str, tuple[str, Node]] = {}
    for kind, name, node in _names(written):
        if name in taken:
            other, place = taken[name]
            report.error(node, f"{quote(name)} names a {kind} here and a {other} at {place.file}:{place.line}")
        else:
            taken[name] = (kind, node)


def _names(written: Written) -> Iterator[tuple[str, str, Node]]:
    for router, node in written.routers:
        yield "router", router.name, table_of(node)["name"]
    for counted in written.devices:
        yield "device", counted.device.name, counted.node
        for device in instances(counted) if counted.count is not None else ():
            yield "device", device.name, counted.node


def _check_routers(written: Written, routers: Mapping[str, Router], report: Report) -> None:
    in_cycle: set[str] = set()
    for router, node in written.routers:
        if router.upstream == "ix":
            report.error(
                node.value["upstream"], "a router is on the internet exchange when it has no upstream", "no key"
            )
        elif router.upstream is not None and router.upstream not in routers:
            report.error(node.value["upstream"], *unknown("router", router.upstream, routers))
        elif router.name not in in_cycle:
            in_cycle |= _check_cycle(router, node, routers, report)
        if router.is_isolated:
            _check_isolated(router, node, report)
        else:
            check_region_of(router, node, routers, written.regions, report)
        if router.mtu is not None and router.mtu < LEAST_IPV6_MTU and router.ip_support.v6:
            _report_small_mtu(
                node, router.mtu, f"the router carries IPv6 (ip_support is {router.ip_support.value})", report
            )
        if router.nat_v6 is not NatV6.NONE:
            check_nat_v6(router, node.value.get("nat_v6", node), routers, report)
        if router.nat.config is not None and not router.uplink_support.v4 and "nat" in table_of(node):
            report.warn(node.value["nat"], "the router carries no IPv4, so its IPv4 NAT has nothing to do")


def _check_isolated(router: Router, node: Node, report: Report) -> None:
    """An isolated router has no uplink, so nothing can be said of it."""
    for key in ("upstream", "region", "uplink_condition", "uplink"):
        if key in node.value:
            report.error(
                node.value[key], f"the router is isolated: it has no uplink, so {quote(key)} says nothing", "no key"
            )
    for key, is_there in (
        ("nat", router.nat.config is not None),
        ("nat_v6", router.nat_v6 is not NatV6.NONE),
        ("firewall", not router.firewall.config.is_open),
    ):
        if is_there and key in node.value:
            report.warn(node.value[key], f"the router is isolated: its {quote(key)} has nothing to do")


def _interfaces_by_lan(written: Written) -> Counter[str]:
    """How many interfaces stand on the LAN of each router."""
    found = Counter(router.upstream for router, _ in written.routers if router.upstream is not None)
    for counted in written.devices:
        for interface in counted.device.interfaces:
            found[interface.gateway] += 1 if counted.count is None else counted.count
    return found


def _check_aliases(written: Written, network: Network, report: Report) -> None:
    if network.is_open or network.vague or not (written.names or any(written.own_names.values())):
        return
    known = network.known_names()
    dns.check_aliases(written.names, NameTable(known, network.given_names), report)
    for entries in written.own_names.values():
        own = [entry.record for entry in entries]
        dns.check_aliases(entries, NameTable(known, network.given_names, own), report)


def check_nat_v6(router: Router, node: Node, routers: Mapping[str, Router], report: Report) -> None:
    """Reports a translation of IPv6 that its router's families leave nothing to do, or no way to do it."""
    upstream = routers.get(router.upstream) if router.upstream is not None else None
    if router.nat_v6 is NatV6.NONE:
        return
    if not router.ip_support.v6:
        report.warn(node, "the router carries no IPv6, so its translation has nothing to do")
    elif router.nat_v6 is NatV6.NAT64 and upstream is not None and not upstream.ip_support.v4:
        message = f"NAT64 needs an uplink with IPv4, and the upstream {quote(upstream.name)} carries none"
        hint = f'"none": {quote(upstream.name)} translates for it' if upstream.is_nat64 else "an upstream with IPv4"
        report.error(node, message, hint)
    elif router.nat_v6.hides and upstream is not None and not upstream.ip_support.v6:
        report.warn(node, f"the upstream {quote(upstream.name)} carries no IPv6, so its translation has nothing to do")


def _check_cycle(router: Router, node: Node, routers: Mapping[str, Router], report: Report) -> set[str]:
    chain = [router.name]
    upstream = router.upstream
    while upstream is not None and upstream in routers and upstream not in chain:
        chain.append(upstream)
        upstream = routers[upstream].upstream
    if upstream != router.name:
        return set()
    report.error(
        node.value["upstream"], f"routers are upstream of each other in a cycle: {' -> '.join([*chain, upstream])}"
    )
    return set(chain)


def _check_device(counted: Counted, routers: Mapping[str, Router], report: Report) -> None:
    device, node = counted.device, counted.node
    names = [interface.name for interface in device.interfaces]
    if device.default_via is not None and device.default_via not in names:
        report.error(node.value["default_via"], *unknown("interface", device.default_via, names))
    for interface in device.interfaces:
        gateway = node.value[interface.name].value["gateway"]
        router = routers.get(interface.gateway)
        if router is None:
            report.error(gateway, *unknown("router", interface.gateway, routers))
            continue
        if device.mtu is not None and device.mtu < LEAST_IPV6_MTU and router.ip_support.v6:
            _report_small_mtu(node, device.mtu, f"the router {quote(router.name)} carries IPv6", report)
        if _loses_all_families(router, routers):
            report.warn(gateway, f"no address family of the router {quote(router.name)} gets through its upstreams")


def _report_small_mtu(node: Node, mtu: int, why: str, report: Report) -> None:
    hint = f'{LEAST_IPV6_MTU} or more, or ip_support = "v4-only"'
    report.error(node.value["mtu"], f"an MTU of {mtu} is too small for IPv6, and {why}", hint)


def _loses_all_families(router: Router, routers: Mapping[str, Router]) -> bool:
    v4 = v6 = True
    seen: set[str] = set()
    current: Router | None = router
    while current is not None and current.name not in seen:
        if current.nat_v6 is NatV6.NAT64:
            return False  # what leaves it is IPv4 again
        seen.add(current.name)
        v4, v6 = v4 and current.ip_support.v4, v6 and current.ip_support.v6
        current = routers.get(current.upstream) if current.upstream else None
    return not (v4 or v6)


class _Owners:
    """Finds variables that mean two interfaces."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._owners: dict[str, tuple[str, Node]] = {}

    def add(self, device: Device, node: Node) -> None:
        self._add(ip_variables(device.name)[0], device.name, node)
        for interface in device.interfaces:
            self._add(ip_variables(device.name, interface.name)[0], f"{device.name}.{interface.name}", node)

    def _add(self, variable: str, owner: str, node: Node) -> None:
        other, place = self._owners.setdefault(variable, (owner, node))
        if other != owner:
            message = f"{quote(owner)} and {quote(other)} (at {place.origin}) share the variable ${variable}"
            self._report.error(node, message, "names that differ in their letters and digits")


def _variables(written: Written, routers: Mapping[str, Router], report: Report) -> dict[str, bool]:
    owners = _Owners(report)
    variables: dict[str, bool] = {}
    for counted in written.devices:
        for device in instances(counted) if counted.device.interfaces else ():
            owners.add(device, counted.node)
            variables |= address_variables(device, routers)
    return variables
