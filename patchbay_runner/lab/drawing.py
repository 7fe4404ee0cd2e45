"""Draws the blueprint of a topology: addresses, routes, rules and cables of every node. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from patchbay_runner.kernel.nat64 import Nat64Config
from patchbay_runner.lab.addressing import (
    BRIDGE_INDEX,
    IX,
    PORTS_PER_BRIDGE,
    AddressPlan,
    Port,
    routers_outside_in,
    wan_interface,
)
from patchbay_runner.lab.blueprint import (
    PORT_INDICES,
    Blueprint,
    Bridge,
    Cable,
    InterfaceBlueprint,
    NodeBlueprint,
)
from patchbay_runner.lab.planner import plan_addresses
from patchbay_runner.lab.policy import forwarding, router_policy
from patchbay_runner.lab.provisioning import advertiser, device_sysctls
from patchbay_runner.lab.region_links import link_fallbacks, link_routes, region_cables
from patchbay_runner.lab.regions import region_routers_of, with_region_routers
from patchbay_runner.lab.routing import (
    DEFAULT_MTU,
    Route,
    dead_ends,
    default_routes,
    lan_mtu,
    narrow_members,
    prefix_mappings,
    routes_inside,
)
from patchbay_runner.model.topology import Device, Ipv6Provisioning, Router, Topology

# Members of a LAN that is longer give entries of the host-wide neighbour tables back soon.
_CROWD = 100


def draw_blueprint(topology: Topology, plan: AddressPlan | None = None) -> Blueprint:
    """With its own plan or a given one. Raises LabError when the topology cannot be addressed or wired."""
    return _Drawing(topology, plan_addresses(topology) if plan is None else plan).blueprint()


class _Drawing:
    def __init__(self, topology: Topology, plan: AddressPlan) -> None:
        topology = with_region_routers(topology)
        self._topology = topology
        self._plan = plan
        self._region_cables = region_cables(topology)
        self._routers = {router.name: router for router in topology.routers}
        self._mtus: dict[tuple[str, str], int] = {}
        self._routes = routes_inside(topology, plan)
        self._device_sysctls = device_sysctls(topology.lab)
        self._mappings = prefix_mappings(topology, plan)
        for router in topology.routers:
            self._mtus[router.name, wan_interface(router)] = router.mtu or DEFAULT_MTU
        for device in topology.devices:
            for interface in device.interfaces:
                self._mtus[device.name, interface.name] = device.mtu or DEFAULT_MTU

    def blueprint(self) -> Blueprint:
        nodes = {IX: self._exchange()}
        # The first of two linked regions owns the cable between them.
        ordered = (*region_routers_of(self._topology), *(router.name for router in routers_outside_in(self._topology)))
        nodes |= {name: self._router(self._routers[name]) for name in dict.fromkeys(ordered)}
        nodes |= {device.name: self._device(device) for device in self._topology.devices}
        return Blueprint(self._plan, nodes)

    def _lan_mtu(self, owner: str) -> int:
        return lan_mtu(self._routers.get(owner))

    def _exchange(self) -> NodeBlueprint:
        return NodeBlueprint(
            name=IX,
            kind="ix",
            v4=True,
            v6=True,
            bridges=self._bridges(IX),
            interfaces=(self._lan_interface(IX),),
            sysctls=tuple(forwarding(v4=True, v6=True)),
        )

    def _router(self, router: Router) -> NodeBlueprint:
        wan = None if router.is_isolated else self._plan.wan(router)
        lan = self._lan_interface(router.name)
        policy = router_policy(router, self._plan, self._routes[router.name], self._mappings[router.name])
        return NodeBlueprint(
            name=router.name,
            kind="router",
            v4=router.uplink_support.v4,
            v6=router.ip_support.v6,
            bridges=self._bridges(router.name),
            interfaces=(
                *([self._member_interface(wan, is_default=True)] if wan is not None else []),
                lan,
                *self._link_interfaces(router.name),
            ),
            default_interface=wan.interface if wan is not None else "",
            sysctls=policy.sysctls,
            rulesets=policy.rulesets,
            advertiser=advertiser(router, self._plan.lans[router.name]),
            nat64=_nat64_config(lan, router) if router.is_nat64 else None,
        )

    def _device(self, device: Device) -> NodeBlueprint:
        default = device.default_interface
        interfaces = tuple(
            self._device_interface(self._plan.ports[device.name, interface.name], interface.name == default)
            for interface in device.interfaces
        )
        return NodeBlueprint(
            name=device.name,
            kind="device",
            v4=any(interface.port.v4 for interface in interfaces),
            v6=any(interface.port.v6 for interface in interfaces),
            interfaces=interfaces,
            default_interface=default,
            first_sysctls=self._device_sysctls,
        )

    def _device_interface(self, port: Port, is_default: bool) -> InterfaceBlueprint:
        interface = self._member_interface(port, is_default)
        if port.v6 is None or not self._device_sysctls:
            return interface
        settings = self._topology.lab
        is_learning = settings.ipv6_provisioning is Ipv6Provisioning.RA
        routes = tuple(route for route in interface.routes if route.destination.version == 4 or not is_learning)
        return msgspec.structs.replace(
            interface, routes=routes, has_dad=settings.ipv6_dad, learns_default=is_learning and is_default
        )

    def _member_interface(self, port: Port, is_default: bool) -> InterfaceBlueprint:
        key = port.node, port.interface
        lan = self._plan.lans[port.lan]
        return InterfaceBlueprint(
            port,
            port.index,
            self._mtus[key],
            neighbours=(lan.gateway,),
            routes=default_routes(lan.gateway, port) if is_default else (),
            cable=self._cable(port),
            is_crowded=len(lan.members) > _CROWD,
        )

    def _lan_interface(self, owner: str) -> InterfaceBlueprint:
        lan = self._plan.lans[owner]
        mtu = self._lan_mtu(owner)
        known = tuple(member for member in lan.members if not self._is_black_hole(member.node))
        routes = (
            *self._routes[owner],
            *narrow_members(known, self._mtus, mtu),
            *self._link_fallbacks(owner),
            *dead_ends(self._routers.get(owner)),
        )
        return InterfaceBlueprint(lan.gateway, BRIDGE_INDEX, mtu, lan.members, routes)

    def _is_black_hole(self, node: str) -> bool:
        return node in self._routers and self._routers[node].block_icmp_frag_needed

    def _link_interfaces(self, router: str) -> Iterator[InterfaceBlueprint]:
        for cable in self._region_cables:
            near, far = cable.ends
            if router == near.node:
                yield self._link_interface(near, far, None)
            elif router == far.node:
                yield self._link_interface(far, near, Cable(near.node, near.interface, near.index, None, near.mac))

    def _link_interface(self, here: Port, there: Port, cable: Cable | None) -> InterfaceBlueprint:
        routes = tuple(link_routes(there, self._plan, self._routes[there.node]))
        return InterfaceBlueprint(here, here.index, DEFAULT_MTU, (there,), routes, cable)

    def _link_fallbacks(self, router: str) -> Iterator[Route]:
        for cable in self._region_cables:
            for here, there in (cable.ends, cable.ends[::-1]):
                if here.node == router:
                    yield from link_fallbacks(there, self._plan, self._routes[there.node])

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


def _nat64_config(lan: InterfaceBlueprint, router: Router) -> Nat64Config:
    narrow = (route.mtu for route in lan.routes if route.mtu is not None and route.destination.version == 6)
    return Nat64Config(lan_mtu=min((lan.mtu, *narrow)), wan_mtu=router.mtu or DEFAULT_MTU)


def _segment_index(number: int) -> int:
    """Each segment takes an index for its bridge and two for the cable to the first bridge; ports follow."""
    return PORT_INDICES.start + 3 * number


def _segment_mac(mac: bytes, number: int) -> bytes:
    """The plan's addresses begin 02:70:62; those of further bridges begin 06."""
    return bytes((0x06, *mac[1:3], number + 1, *mac[4:]))
