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
from patchbay_runner.lab.pools import mapped_prefix
from patchbay_runner.model.ranges import FIRST_MEMBER
from patchbay_runner.model.topology import IpSupport, Router, Topology

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

FIRST_IX_HOST_V4 = 10
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

    `next_numbers` is the next member's number of each LAN, `next_mac` the number of the next hardware address,
    `next_lan` that of the next LAN. `retired` are prefixes of LANs that are gone.
    """

    lans: dict[str, Lan]
    ports: dict[tuple[str, str], Port]
    next_numbers: dict[str, int]
    next_mac: int
    next_lan: int
    retired: tuple[IPv4Network | IPv6Network, ...] = ()

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
        return FIRST_IX_HOST_V4 + number, _FIRST_IX_HOST_V6 + number
    return FIRST_MEMBER + number, FIRST_MEMBER + number


def mac_address(number: int) -> bytes:
    """A locally administered unicast address."""
    return b"\x02pb" + number.to_bytes(3)


def link_local_address(mac: bytes) -> IPv6Address:
    """The link-local address that stateless autoconfiguration forms from `mac`."""
    return slaac_address(_LINK_LOCAL, mac)
