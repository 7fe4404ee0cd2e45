"""Which names a lab has, who sees which, and what the nodes' files say of them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import mounts
from patchbay_runner.kernel.dns import WELL_KNOWN, Zone
from patchbay_runner.lab.addressing import IX, Port
from patchbay_runner.lab.blueprint import Blueprint, NodeBlueprint
from patchbay_runner.model.names import Address, Labels, NameRecord, NameTable, labels_of
from patchbay_runner.model.topology import Router, Topology

IsDown = Callable[[str, str], bool]


class Server(msgspec.Struct, frozen=True):
    """Where a node asks: an address that the owner of a LAN has on it."""

    owner: str
    address: Address


def node_records(blueprint: Blueprint) -> Iterator[NameRecord]:
    """`<node>` for the addresses of its default interface, `<interface>.<node>` for those of each interface.

    Where two names differ in capitals only the first has it, devices before routers. A name that DNS cannot carry is
    left out.
    """
    taken: set[Labels] = set()
    nodes = sorted(blueprint.nodes.values(), key=lambda node: node.kind != "device")
    ports = [(node.name, port) for node in nodes if (port := _first_port(node)) is not None]
    ports += [(f"{each.port.interface}.{node.name}", each.port) for node in nodes for each in node.interfaces]
    for name, port in ports:
        addresses = tuple(str(address) for address in _addresses(port))
        try:
            labels = labels_of(name)
        except ValueError:
            continue
        if addresses and labels not in taken:
            taken.add(labels)
            yield NameRecord(name, addresses)


def draw_zones(blueprint: Blueprint, topology: Topology) -> tuple[Zone, dict[Address, Zone]]:
    """What everybody sees, and what those see who have names of their own, by each of their addresses."""
    nodes = Zone([*WELL_KNOWN, *node_records(blueprint)])
    everybody = Zone(topology.names, nodes)
    own: dict[tuple[NameRecord, ...], Zone] = {}
    by_address: dict[Address, Zone] = {}
    for device in topology.devices:
        if device.names:
            zone = own.setdefault(device.names, Zone(device.names, everybody))
            interfaces = blueprint.nodes[device.name].interfaces
            by_address |= dict.fromkeys((address for each in interfaces for address in _addresses(each.port)), zone)
    return everybody, by_address


def servers_of(blueprint: Blueprint, node: str, is_down: IsDown) -> tuple[Server, ...]:
    """Whom a node asks: the gateway of its default interface, or of the first other while that one is down.

    A router asks its upstream, so that programs of its own may have port 53 of its LAN; who has no uplink asks itself.
    """
    found = blueprint.nodes[node]
    members = [each.port for each in found.interfaces if each.cable is not None]
    members.sort(key=lambda port: port.interface != found.default_interface)
    for port in members:
        if not is_down(node, port.interface):
            return tuple(_gateway_servers(port, blueprint.plan.lans[port.lan].gateway))
    own = () if members else (each.port for each in found.interfaces)
    return tuple(Server(node, address) for port in own for address in _addresses(port))


def owners_behind_nat64(topology: Topology) -> frozenset[str]:
    """The routers from whose LANs everything that leaves passes a NAT64."""
    routers = {router.name: router for router in topology.routers}

    def passes(router: Router | None) -> bool:
        return router is not None and (router.is_nat64 or passes(routers.get(router.upstream or IX)))

    return frozenset(name for name, router in routers.items() if passes(router))


def resolv_conf(servers: Iterable[Server]) -> str:
    """The text of a node's `/etc/resolv.conf`."""
    return "".join(f"nameserver {server.address}\n" for server in servers)


def hosts(blueprint: NodeBlueprint, hostname: str, entries: HostEntries) -> str:
    """The text of a node's `/etc/hosts`: this host, and the names with addresses, for programs that read nothing else.

    The host's own name stands for the addresses that others reach it by, so that what listens there is found.
    """
    lines = []
    if hostname.lower() not in entries.names:
        port = _first_port(blueprint)
        own = [str(address) for address in _addresses(port)] if port is not None else []
        lines = [f"{address}\t{hostname}\n" for address in own or ["127.0.1.1"]]
    return "".join([mounts.DEFAULT_HOSTS, *lines, entries.text])


class HostEntries(msgspec.Struct, frozen=True):
    """The lines of `/etc/hosts` that many nodes share, and the names that they hold."""

    names: frozenset[str] = frozenset()
    text: str = ""


def host_entries(records: Iterable[NameRecord]) -> HostEntries:
    """Of names with addresses; a file knows no wildcards."""
    plain = [record for record in records if record.addresses and not record.name.startswith("*.")]
    names = [record.name.removesuffix(".") for record in plain]
    lines = [f"{address}\t{name}\n" for name, record in zip(names, plain, strict=True) for address in record.addresses]
    return HostEntries(frozenset(name.lower() for name in names), "".join(lines))


def check_names(topology: Topology) -> None:
    """Raises LabError for names that DNS cannot carry, that contradict each other, or that stand for each other."""
    for names in dict.fromkeys((topology.names, *(device.names for device in topology.devices))):
        Zone(names)
        table = NameTable(topology.names, names)
        for record in names:
            problem = table.problem(record)
            if problem is not None and problem.reason != "unknown":
                raise LabError(str(problem))


def _gateway_servers(port: Port, gateway: Port) -> Iterator[Server]:
    if port.v4 is not None and gateway.v4 is not None:
        yield Server(port.lan, gateway.v4.ip)
    if port.v6 is not None and gateway.v6 is not None:
        yield Server(port.lan, gateway.v6.ip)


def _first_port(node: NodeBlueprint) -> Port | None:
    """The port that a node is reached by."""
    ports: Mapping[str, Port] = {each.port.interface: each.port for each in node.interfaces}
    return ports.get(node.default_interface) or next(iter(ports.values()), None)


def _addresses(port: Port) -> Iterator[Address]:
    return (address.ip for address in (port.v4, port.v6) if address is not None)
