"""The blueprint: what each node's network namespace is to hold, as plain records. Pure.

Interface indices are part of it, so that one batch of kernel requests can refer to what the same batch creates.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal

import msgspec

from patchbay_runner.lab.addressing import (
    BRIDGE_INDEX,
    IX,
    LAN_BRIDGE,
    PORTS_PER_BRIDGE,
    AddressPlan,
    Port,
    plan_addresses,
    routers_outside_in,
    wan_interface,
)
from patchbay_runner.lab.firewall import FIREWALL_TABLE, firewall_ruleset
from patchbay_runner.lab.nat import NAT_TABLE, NatPlacement, nat_ruleset, nat_sysctls
from patchbay_runner.model.topology import Device, NatV6, Router, Topology

NodeKind = Literal["ix", "router", "device"]
DEFAULT_MTU = 1500

# Members of a LAN that is longer give entries of the host-wide neighbour tables back soon.
_CROWD = 100

_FIRST_PORT_INDEX = 16


class Route(msgspec.Struct, frozen=True):
    """`mtu` is set where the path behind the next hop carries less than the outgoing interface."""

    destination: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | None
    mtu: int | None = None


class Cable(msgspec.Struct, frozen=True):
    """The veth pair behind a member's interface: its other end is a port of a bridge of node `owner`."""

    owner: str
    port_name: str
    port_index: int
    bridge_index: int


class InterfaceBlueprint(msgspec.Struct, frozen=True):
    """A node's own interface; a bridge has no cable. `routes` leave by it.

    `neighbours` are the ports whose hardware addresses the node knows for good. `is_crowded` tells a LAN where knowing
    all others takes more than the host has room for.
    """

    port: Port
    index: int
    mtu: int
    neighbours: tuple[Port, ...]
    routes: tuple[Route, ...]
    cable: Cable | None = None
    is_crowded: bool = False


class Bridge(msgspec.Struct, frozen=True):
    """A bridge of a node. `uplink` is the index of the bridge that it extends; the first of a LAN has none."""

    name: str
    index: int
    mac: bytes
    mtu: int
    uplink: int | None = None


class NodeBlueprint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a node's namespace is to hold. `rulesets` are nft files by the table that each makes."""

    name: str
    kind: NodeKind
    v4: bool
    v6: bool
    bridges: tuple[Bridge, ...] = ()
    interfaces: tuple[InterfaceBlueprint, ...] = ()
    default_interface: str = ""
    sysctls: tuple[tuple[str, str], ...] = ()
    rulesets: dict[str, str] = {}


class Blueprint(msgspec.Struct, frozen=True):
    """Nodes with every LAN's owner before the LAN's members."""

    plan: AddressPlan
    nodes: dict[str, NodeBlueprint]


def draw_blueprint(topology: Topology, plan: AddressPlan | None = None) -> Blueprint:
    """With its own plan or a given one. Raises LabError when the topology cannot be addressed or wired."""
    return _Drawing(topology, plan_addresses(topology) if plan is None else plan).blueprint()


def default_routes(gateway: Port, mtu: int | None = None) -> tuple[Route, ...]:
    """The default routes of both families through `gateway`; IPv6 by its link-local address, as hosts learn it."""
    routes = []
    if gateway.v4 is not None:
        routes.append(Route(IPv4Network("0.0.0.0/0"), gateway.v4.ip, mtu))
    if gateway.link_local is not None:
        routes.append(Route(IPv6Network("::/0"), gateway.link_local, mtu))
    return tuple(routes)


class _Drawing:
    def __init__(self, topology: Topology, plan: AddressPlan) -> None:
        self._topology = topology
        self._plan = plan
        self._routers = {router.name: router for router in topology.routers}
        self._mtus: dict[tuple[str, str], int] = {}
        self._routes: dict[str, list[Route]] = {name: [] for name in (IX, *self._routers)}
        for router in topology.routers:
            self._mtus[router.name, wan_interface(router)] = router.mtu or DEFAULT_MTU
        for device in topology.devices:
            for interface in device.interfaces:
                self._mtus[device.name, interface.name] = device.mtu or DEFAULT_MTU

    def blueprint(self) -> Blueprint:
        outside_in = routers_outside_in(self._topology)
        for router in outside_in:
            self._announce(router)
        nodes = {IX: self._exchange()}
        nodes |= {router.name: self._router(router) for router in outside_in}
        nodes |= {device.name: self._device(device) for device in self._topology.devices}
        return Blueprint(self._plan, nodes)

    def _announce(self, router: Router) -> None:
        """Gives every router above `router` a route to its LAN, up to the first that hides the LAN behind its NAT."""
        lan = self._plan.lans[router.name]
        v4, v6, mtu = lan.v4, lan.v6, DEFAULT_MTU
        child: Router | None = router
        while child is not None:
            wan = self._plan.wan(child)
            v4 = None if child.nat.config is not None or wan.v4 is None else v4
            v6 = None if child.nat_v6 is not NatV6.NONE or wan.v6 is None else v6
            mtu = min(mtu, child.mtu or DEFAULT_MTU)
            above = IX if child.upstream is None else child.upstream
            narrow = mtu if mtu < self._lan_mtu(above) else None
            if v4 is not None and wan.v4 is not None:
                self._routes[above].append(Route(v4, wan.v4.ip, narrow))
            if v6 is not None and wan.link_local is not None:
                self._routes[above].append(Route(v6, wan.link_local, narrow))
            child = self._routers[child.upstream] if child.upstream is not None else None

    def _lan_mtu(self, owner: str) -> int:
        return DEFAULT_MTU if owner == IX else self._routers[owner].mtu or DEFAULT_MTU

    def _exchange(self) -> NodeBlueprint:
        return NodeBlueprint(
            name=IX,
            kind="ix",
            v4=True,
            v6=True,
            bridges=self._bridges(IX),
            interfaces=(self._lan_interface(IX),),
            sysctls=(*_forwarding(v4=True, v6=True),),
        )

    def _router(self, router: Router) -> NodeBlueprint:
        wan = self._plan.wan(router)
        sysctls = list(_forwarding(v4=router.ip_support.v4, v6=router.ip_support.v6))
        rulesets = {}
        if router.nat.config is not None and wan.v4 is not None:
            rulesets[f"ip {NAT_TABLE}"] = nat_ruleset(router.nat.config, self._placement(router, wan))
            sysctls += nat_sysctls(router.nat.config).items()
        if not router.firewall.config.is_open:
            rulesets[f"inet {FIREWALL_TABLE}"] = firewall_ruleset(router.firewall.config, wan.interface)
        return NodeBlueprint(
            name=router.name,
            kind="router",
            v4=router.ip_support.v4,
            v6=router.ip_support.v6,
            bridges=self._bridges(router.name),
            interfaces=(self._member_interface(wan, is_default=True), self._lan_interface(router.name)),
            default_interface=wan.interface,
            sysctls=tuple(sysctls),
            rulesets=rulesets,
        )

    def _placement(self, router: Router, wan: Port) -> NatPlacement:
        lan = self._plan.lans[router.name]
        assert wan.v4 is not None
        inside = [
            route.destination for route in self._routes[router.name] if isinstance(route.destination, IPv4Network)
        ]
        own = [lan.v4] if lan.v4 is not None else []
        return NatPlacement(wan.interface, wan.v4.ip, LAN_BRIDGE, tuple(own + inside))

    def _device(self, device: Device) -> NodeBlueprint:
        default = device.default_interface
        interfaces = tuple(
            self._member_interface(self._plan.ports[device.name, interface.name], interface.name == default)
            for interface in device.interfaces
        )
        return NodeBlueprint(
            name=device.name,
            kind="device",
            v4=any(interface.port.v4 for interface in interfaces),
            v6=any(interface.port.v6 for interface in interfaces),
            interfaces=interfaces,
            default_interface=default,
        )

    def _member_interface(self, port: Port, is_default: bool) -> InterfaceBlueprint:
        key = port.node, port.interface
        lan = self._plan.lans[port.lan]
        return InterfaceBlueprint(
            port,
            port.index,
            self._mtus[key],
            neighbours=(lan.gateway,),
            routes=default_routes(_reachable(lan.gateway, port)) if is_default else (),
            cable=self._cable(port),
            is_crowded=len(lan.members) > _CROWD,
        )

    def _lan_interface(self, owner: str) -> InterfaceBlueprint:
        lan = self._plan.lans[owner]
        routes = (*self._routes[owner], *self._narrow_members(owner))
        return InterfaceBlueprint(lan.gateway, BRIDGE_INDEX, self._lan_mtu(owner), lan.members, routes)

    def _narrow_members(self, owner: str) -> Iterator[Route]:
        """Host routes to members with a smaller MTU, so that the owner answers what does not fit (RFC 1191)."""
        for member in self._plan.lans[owner].members:
            mtu = self._mtus[member.node, member.interface]
            if mtu >= self._lan_mtu(owner):
                continue
            if member.v4 is not None:
                yield Route(IPv4Network(member.v4.ip), None, mtu)
            if member.v6 is not None:
                yield Route(IPv6Network(member.v6.ip), None, mtu)

    def _bridges(self, owner: str) -> tuple[Bridge, ...]:
        lan = self._plan.lans[owner]
        mtu = self._lan_mtu(owner)
        first = Bridge(lan.gateway.interface, BRIDGE_INDEX, lan.gateway.mac, mtu)
        further = (
            Bridge(f"seg{i}", _segment_index(i), _segment_mac(lan.gateway.mac, i), mtu, uplink=BRIDGE_INDEX)
            for i in range(lan.segments)
        )
        return (first, *further)

    def _cable(self, port: Port) -> Cable:
        lan = self._plan.lans[port.lan]
        bridge = BRIDGE_INDEX
        if lan.segments:
            bridge = _segment_index(min(port.slot // PORTS_PER_BRIDGE, lan.segments - 1))
        return Cable(port.lan, f"p{port.slot}", _segment_index(lan.segments) + port.slot, bridge)


def _segment_index(number: int) -> int:
    """Each segment takes an index for its bridge and two for the cable to the first bridge; ports follow."""
    return _FIRST_PORT_INDEX + 3 * number


def _reachable(gateway: Port, port: Port) -> Port:
    """The gateway without the families that the member does not carry."""
    if (port.v4 is None) == (gateway.v4 is None) and (port.v6 is None) == (gateway.v6 is None):
        return gateway
    return msgspec.structs.replace(
        gateway,
        v4=gateway.v4 if port.v4 is not None else None,
        v6=gateway.v6 if port.v6 is not None else None,
        link_local=gateway.link_local if port.v6 is not None else None,
    )


def _segment_mac(mac: bytes, number: int) -> bytes:
    """The plan's addresses begin 02:70:62; those of further bridges begin 06."""
    return bytes((0x06, *mac[1:3], number + 1, *mac[4:]))


def _forwarding(*, v4: bool, v6: bool) -> Iterator[tuple[str, str]]:
    # Routes between members of one LAN are the lab's, so a redirect would only teach a host a second path.
    yield "ipv4/conf/all/send_redirects", "0"
    if v4:
        yield "ipv4/ip_forward", "1"
    if v6:
        yield "ipv6/conf/all/forwarding", "1"
