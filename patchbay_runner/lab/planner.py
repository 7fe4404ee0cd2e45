"""The planner of addresses: gives every LAN its prefixes and every interface its addresses. Pure and deterministic."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

from patchbay_runner.errors import LabError
from patchbay_runner.lab.addressing import (
    BRIDGE_INDEX,
    FIRST_DEVICE_INDEX,
    FIRST_IX_HOST_V4,
    GATEWAY_NUMBER,
    IX,
    LAN_BRIDGE,
    PORTS_PER_BRIDGE,
    WAN_INDEX,
    AddressPlan,
    Attachment,
    Lan,
    Port,
    mac_address,
    make_port,
    routers_outside_in,
    wan_interface,
)
from patchbay_runner.lab.pools import OwnPrefixes, V4Pool, subnets_v6
from patchbay_runner.lab.regions import with_region_routers
from patchbay_runner.model.ranges import FIRST_MEMBER, IX_V6, PRIVATE_V4, PRIVATE_V6, PUBLIC_V4, PUBLIC_V6
from patchbay_runner.model.topology import IpSupport, Pool, Router, Topology


def plan_addresses(topology: Topology) -> AddressPlan:
    """Raises LabError when the topology cannot be addressed (a pool is full, a gateway is unknown)."""
    return _Planner(with_region_routers(topology)).plan()


class _Planner:
    """Numbers LANs, then members. Holds the counters."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._routers = {router.name: router for router in topology.routers}
        self._numbers = {name: number for number, name in enumerate((IX, *self._routers))}
        self._next_mac = 1
        members = _members_by_lan(topology)
        self._members = members
        self._own = own = OwnPrefixes.of(topology)
        self._public_v4 = V4Pool(PUBLIC_V4, tuple(own.v4.values()))
        self._private_v4 = V4Pool(
            PRIVATE_V4, tuple(own.v4.values()), skip=256
        )  # LANs count from 1, as on the public side
        ix_v4 = self._public_v4.take(len(members[IX]) + FIRST_IX_HOST_V4 - 1, IX)
        self._private_v6 = subnets_v6(PRIVATE_V6, tuple(own.v6.values()))
        self._public_v6 = subnets_v6(PUBLIC_V6, tuple(own.v6.values()))
        self._prefixes: dict[str, tuple[IPv4Network | None, IPv6Network | None]] = {IX: (ix_v4, IX_V6)}

    def plan(self) -> AddressPlan:
        for router in self._topology.routers:
            self._prefixes[router.name] = self._lan_prefixes(router)
        lans = {owner: self._lan(owner) for owner in (IX, *(r.name for r in routers_outside_in(self._topology)))}
        ports = {(port.node, port.interface): port for lan in lans.values() for port in (lan.gateway, *lan.members)}
        numbers = {owner: len(lan.members) for owner, lan in lans.items()}
        return AddressPlan(lans, ports, numbers, self._next_mac)

    def _lan_prefixes(self, router: Router) -> tuple[IPv4Network | None, IPv6Network | None]:
        v4 = v6 = None
        if router.ip_support.v4:
            pool = self._private_v4 if router.lan_pool is Pool.PRIVATE else self._public_v4
            v4 = self._own.v4.get(router.name) or pool.take(
                len(self._members[router.name]) + FIRST_MEMBER - 1, router.name
            )
        if router.ip_support.v6:
            pool_v6 = self._private_v6 if router.lan_pool_v6 is Pool.PRIVATE else self._public_v6
            v6 = self._own.v6.get(router.name) or next(pool_v6)
        return v4, v6

    def _lan(self, owner: str) -> Lan:
        v4, v6 = self._prefixes[owner]
        bridge = IX if owner == IX else LAN_BRIDGE
        gateway = self._port(owner, Attachment(owner, bridge, BRIDGE_INDEX), GATEWAY_NUMBER)
        members = tuple(self._port(owner, member, number) for number, member in enumerate(self._members[owner]))
        segments = -(-len(members) // PORTS_PER_BRIDGE) if len(members) > PORTS_PER_BRIDGE else 0
        return Lan(owner, self._numbers[owner], v4, v6, gateway, members, segments, self._is_slaac(owner))

    def _port(self, owner: str, attachment: Attachment, number: int) -> Port:
        mac = mac_address(self._next_mac)
        self._next_mac += 1
        router = self._routers.get(attachment.node)
        support = IpSupport.DUAL_STACK if router is None else router.uplink_support
        return make_port(
            attachment,
            owner,
            prefixes=self._prefixes[owner],
            support=support,
            number=number,
            mac=mac,
            is_slaac=router is None and self._is_slaac(owner),
        )

    def _is_slaac(self, owner: str) -> bool:
        return owner in self._routers and self._topology.advertises(self._routers[owner])


def _members_by_lan(topology: Topology) -> dict[str, list[Attachment]]:
    members: dict[str, list[Attachment]] = {IX: [], **{router.name: [] for router in topology.routers}}
    for router in topology.routers:
        if router.is_isolated:
            continue
        upstream = IX if router.upstream is None else router.upstream
        if upstream not in members:
            raise LabError(f"its upstream {upstream!r} is not a router", router.name)
        members[upstream].append(Attachment(router.name, wan_interface(router), WAN_INDEX))
    for device in topology.devices:
        for index, interface in enumerate(device.interfaces, FIRST_DEVICE_INDEX):
            if interface.gateway == IX or interface.gateway not in members:
                raise LabError(f"the gateway {interface.gateway!r} of {interface.name} is not a router", device.name)
            members[interface.gateway].append(Attachment(device.name, interface.name, index))
    return members
