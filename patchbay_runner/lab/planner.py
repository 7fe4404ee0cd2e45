"""The planner of addresses: gives every LAN its prefixes and every interface its addresses. Pure and deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network

import msgspec

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
from patchbay_runner.model.topology import IpSupport, Pool, Topology

_EMPTY = AddressPlan(lans={}, ports={}, next_numbers={}, next_mac=1, next_lan=0)


def plan_addresses(topology: Topology) -> AddressPlan:
    """Raises LabError when the topology cannot be addressed (a pool is full, a gateway is unknown)."""
    return extend_addresses(_EMPTY, topology)


def extend_addresses(plan: AddressPlan, topology: Topology) -> AddressPlan:
    """The plan with what `topology` has beyond it; nothing that is there is renumbered. Raises LabError as above."""
    return _Planner(plan, with_region_routers(topology)).plan()


def without_node(plan: AddressPlan, node: str) -> AddressPlan:
    """The plan without a node. What it had is given to nobody else."""
    lan = plan.lans.get(node)
    lans = {
        owner: msgspec.structs.replace(each, members=tuple(port for port in each.members if port.node != node))
        for owner, each in plan.lans.items()
        if owner != node
    }
    return msgspec.structs.replace(
        plan,
        lans=lans,
        ports={key: port for key, port in plan.ports.items() if port.node != node},
        next_numbers={owner: number for owner, number in plan.next_numbers.items() if owner != node},
        retired=plan.retired if lan is None else (*plan.retired, *_prefixes(lan)),
    )


class _Planner:
    """Numbers LANs, then members. Holds the counters."""

    def __init__(self, plan: AddressPlan, topology: Topology) -> None:
        self._plan = plan
        self._topology = topology
        self._routers = {router.name: router for router in topology.routers}
        self._new = [name for name in (IX, *self._routers) if name not in plan.lans]
        self._numbers = {name: number for number, name in enumerate(self._new, plan.next_lan)}
        self._next_mac = plan.next_mac
        self._members = _new_members_by_lan(plan, topology)
        self._own = own = OwnPrefixes.of(topology)
        self._check_own_prefixes()
        given = [prefix for lan in plan.lans.values() for prefix in _prefixes(lan)] + list(plan.retired)
        taken_v4 = (*own.v4.values(), *(prefix for prefix in given if isinstance(prefix, IPv4Network)))
        taken_v6 = (*own.v6.values(), *(prefix for prefix in given if isinstance(prefix, IPv6Network)))
        self._public_v4 = V4Pool(PUBLIC_V4, taken_v4)
        self._private_v4 = V4Pool(PRIVATE_V4, taken_v4, skip=256)  # LANs count from 1, as on the public side
        self._private_v6 = subnets_v6(PRIVATE_V6, taken_v6)
        self._public_v6 = subnets_v6(PUBLIC_V6, taken_v6)
        self._prefixes: dict[str, tuple[IPv4Network | None, IPv6Network | None]] = {}

    def plan(self) -> AddressPlan:
        for owner in self._new:
            self._prefixes[owner] = self._lan_prefixes(owner)
        outside_in = (IX, *(router.name for router in routers_outside_in(self._topology)))
        lans = self._plan.lans | {owner: self._lan(owner) for owner in outside_in}
        ports = {(port.node, port.interface): port for lan in lans.values() for port in (lan.gateway, *lan.members)}
        numbers = {owner: self._next_number(owner) + len(self._members[owner]) for owner in lans}
        return msgspec.structs.replace(
            self._plan,
            lans=lans,
            ports=ports,
            next_numbers=numbers,
            next_mac=self._next_mac,
            next_lan=self._plan.next_lan + len(self._new),
        )

    def _check_own_prefixes(self) -> None:
        """Those of new routers against the LANs that are there."""
        asked = [(name, own[name]) for own in (self._own.v4, self._own.v6) for name in self._new if name in own]
        for name, prefix in asked:
            for lan in self._plan.lans.values():
                if any(prefix.overlaps(each) for each in _prefixes(lan) if each.version == prefix.version):
                    raise LabError(f"its LAN's prefix {prefix} overlaps {lan.owner}", name)

    def _next_number(self, owner: str) -> int:
        return self._plan.next_numbers.get(owner, 0)

    def _lan_prefixes(self, owner: str) -> tuple[IPv4Network | None, IPv6Network | None]:
        if owner == IX:
            return self._public_v4.take(len(self._members[IX]) + FIRST_IX_HOST_V4 - 1, IX), IX_V6
        router = self._routers[owner]
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
        first = self._next_number(owner)
        old = self._plan.lans.get(owner)
        if old is not None:
            self._prefixes[owner] = old.v4, old.v6
        else:
            bridge = IX if owner == IX else LAN_BRIDGE
            gateway = self._port(owner, Attachment(owner, bridge, BRIDGE_INDEX), GATEWAY_NUMBER)
        members = tuple(self._port(owner, member, number) for number, member in enumerate(self._members[owner], first))
        if old is not None:
            return msgspec.structs.replace(old, members=(*old.members, *members))
        v4, v6 = self._prefixes[owner]
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


def _new_members_by_lan(plan: AddressPlan, topology: Topology) -> dict[str, list[Attachment]]:
    """The interfaces that the plan has no port for, by the LAN that they are to stand on."""
    members: dict[str, list[Attachment]] = {IX: [], **{router.name: [] for router in topology.routers}}
    for router in topology.routers:
        if router.is_isolated:
            continue
        upstream = IX if router.upstream is None else router.upstream
        if upstream not in members:
            raise LabError(f"its upstream {upstream!r} is not a router", router.name)
        if router.name not in plan.lans:
            members[upstream].append(Attachment(router.name, wan_interface(router), WAN_INDEX))
    for device in topology.devices:
        for index, interface in enumerate(device.interfaces, FIRST_DEVICE_INDEX):
            if (device.name, interface.name) in plan.ports:
                continue
            if interface.gateway == IX or interface.gateway not in members:
                raise LabError(f"the gateway {interface.gateway!r} of {interface.name} is not a router", device.name)
            members[interface.gateway].append(Attachment(device.name, interface.name, index))
    return members


def _prefixes(lan: Lan) -> Iterator[IPv4Network | IPv6Network]:
    return (prefix for prefix in (lan.v4, lan.v6) if prefix is not None)
