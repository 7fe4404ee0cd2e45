"""The address plan: which LAN has which prefixes, and which interface has which addresses. Pure and deterministic.

One LAN a router, and the internet exchange ("ix") that routers without an upstream share. Numbers follow file order:
the gateway is host 1; a LAN's sub-routers, then its device interfaces, count from 2. On the exchange routers count
from 10 in decimal for IPv4 and in hexadecimal for IPv6.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.ndp import slaac_address
from patchbay_runner.lab.pools import OwnPrefixes, V4Pool, mapped_prefix, subnets_v6
from patchbay_runner.lab.regions import with_region_routers
from patchbay_runner.model.ranges import FIRST_MEMBER, IX_V6, PRIVATE_V4, PRIVATE_V6, PUBLIC_V4, PUBLIC_V6
from patchbay_runner.model.topology import IpSupport, Pool, Router, Topology

IX = "ix"
LAN_BRIDGE = "lan"
IX_WAN = "ix"
SUB_WAN = "wan"

# Interface indices, the loopback's being 1. A router's uplink and bridge, a device's first interface.
WAN_INDEX = 2
BRIDGE_INDEX = 3
FIRST_DEVICE_INDEX = 2

GATEWAY_NUMBER = -1

# The kernel refuses the 1,024th port of a bridge; longer LANs get further bridges behind the first.
PORTS_PER_BRIDGE = 1000

_FIRST_IX_HOST_V4 = 10
_FIRST_IX_HOST_V6 = 0x10
_LINK_LOCAL = IPv6Network("fe80::/64")


class Port(msgspec.Struct, frozen=True):
    """An interface that stands on a LAN. `lan` is its owner: a router, or "ix". Absent families are None.

    `index` is the interface's in its node. `slot` is the socket of the LAN's switch that it is plugged into, `number`
    what its addresses are made of; both count from 0 and are the same until an address is renewed, the owner's are -1.
    No number is given twice, also when members come and go. Where `is_slaac`, the node itself forms the IPv6 address
    from its hardware address (RFC 4862).
    """

    node: str
    interface: str
    index: int
    lan: str
    slot: int
    number: int
    mac: bytes
    v4: IPv4Interface | None
    v6: IPv6Interface | None
    link_local: IPv6Address | None
    is_slaac: bool = False


class Lan(msgspec.Struct, frozen=True):
    """A LAN: its prefixes, the owner's own port, and its members' ports in the order of their numbers.

    `number` is its owner's in the file, from 1, and 0 for the exchange. `segments` is how many further bridges it has
    been given; none when the first had room for all members. Where `is_slaac`, devices form their own IPv6 addresses.
    """

    owner: str
    number: int
    v4: IPv4Network | None
    v6: IPv6Network | None
    gateway: Port
    members: tuple[Port, ...]
    segments: int = 0
    is_slaac: bool = False


class AddressPlan(msgspec.Struct, frozen=True):
    """Every LAN by its owner, in creation order, and every port by node and interface.

    `next_numbers` is the next member's number of each LAN, `next_mac` the number of the next hardware address.
    """

    lans: dict[str, Lan]
    ports: dict[tuple[str, str], Port]
    next_numbers: dict[str, int]
    next_mac: int

    def wan(self, router: Router) -> Port:
        """The router's port towards its upstream, or towards the exchange. Raises LabError if it is isolated."""
        if router.is_isolated:
            raise LabError("it is isolated: it has no uplink", router.name)
        return self.ports[router.name, wan_interface(router)]

    def mapped(self, router: str, owner: str) -> IPv6Network:
        """The prefix that the LAN of `owner` has outside `router`, if that maps prefixes (RFC 6296)."""
        return mapped_prefix(self.lans[router].number, self.lans[owner].number)


def wan_interface(router: Router) -> str:
    return IX_WAN if router.upstream is None and router.region is None else SUB_WAN


def routers_outside_in(topology: Topology) -> list[Router]:
    """Routers with every upstream before what is behind it, else in file order.

    Raises LabError for an upstream that does not exist or that leads back to the router itself.
    """
    by_name = {router.name: router for router in topology.routers}
    ordered: dict[str, Router] = {}

    def visit(router: Router, below: tuple[str, ...]) -> None:
        if router.name in ordered:
            return
        if router.name in below:
            raise LabError("its upstream leads back to itself: " + " -> ".join((*below, router.name)), router.name)
        if router.upstream is not None:
            if router.upstream not in by_name:
                raise LabError(f"its upstream {router.upstream!r} is not a router", router.name)
            visit(by_name[router.upstream], (*below, router.name))
        ordered[router.name] = router

    for router in topology.routers:
        visit(router, ())
    return list(ordered.values())


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
        ix_v4 = self._public_v4.take(len(members[IX]) + _FIRST_IX_HOST_V4 - 1, IX)
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


class Attachment(msgspec.Struct, frozen=True):
    """An interface that is to stand on a LAN."""

    node: str
    interface: str
    index: int


def make_port(
    attachment: Attachment,
    owner: str,
    *,
    prefixes: tuple[IPv4Network | None, IPv6Network | None],
    support: IpSupport,
    number: int,
    mac: bytes,
    slot: int | None = None,
    is_slaac: bool = False,
) -> Port:
    """The port of a LAN's member with its number. Raises LabError when the LAN has no address left."""
    host_v4, host_v6 = _hosts(owner, number)
    v4 = v6 = link_local = None
    if prefixes[0] is not None and support.v4:
        network = prefixes[0]
        if host_v4 >= network.num_addresses - 1:
            raise LabError(f"there is no address left on its LAN {network} for {attachment.node}", owner)
        v4 = IPv4Interface((int(network.network_address) + host_v4, network.prefixlen))
    if prefixes[1] is not None and support.v6:
        numbered = int(prefixes[1].network_address) + host_v6
        v6 = IPv6Interface((slaac_address(prefixes[1], mac) if is_slaac else numbered, prefixes[1].prefixlen))
        link_local = link_local_address(mac)
    return Port(
        attachment.node,
        attachment.interface,
        attachment.index,
        owner,
        number if slot is None else slot,
        number,
        mac,
        v4,
        v6,
        link_local,
        is_slaac=is_slaac and v6 is not None,
    )


def _hosts(owner: str, number: int) -> tuple[int, int]:
    if number == GATEWAY_NUMBER:
        return 1, 1
    if owner == IX:
        return _FIRST_IX_HOST_V4 + number, _FIRST_IX_HOST_V6 + number
    return FIRST_MEMBER + number, FIRST_MEMBER + number


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


def mac_address(number: int) -> bytes:
    """A locally administered unicast address."""
    return b"\x02pb" + number.to_bytes(3)


def link_local_address(mac: bytes) -> IPv6Address:
    """The link-local address that stateless autoconfiguration forms from `mac`."""
    return slaac_address(_LINK_LOCAL, mac)
