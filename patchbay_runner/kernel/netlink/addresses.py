"""Requests that add and remove addresses, routes and neighbours (linux/if_addr.h, rtnetlink.h, neighbour.h)."""

from __future__ import annotations

import struct
from enum import IntEnum

import msgspec

from patchbay_runner.kernel.netlink import wire
from patchbay_runner.kernel.netlink.wire import Address

_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD, IFA_F_DADFAILED, IFA_F_TENTATIVE, IFA_F_NOPREFIXROUTE = 0x02, 0x08, 0x40, 0x200
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_ANY = 0, 253, 255

_ROUTE = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_TABLE, RTA_VIA = 1, 4, 5, 6, 7, 15, 18
RTA_METRICS, RTAX_MTU = 8, 2
RTNH_F_ONLINK = 4
MAIN_TABLE = 254
_TABLE_IN_ATTRIBUTE = 252  # RT_TABLE_COMPAT: the table does not fit the header's octet
_PROTOCOL_STATIC = 4

_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, index, state, flags, type
NDA_DST, NDA_LLADDR = 1, 2
_NTF_MASTER = 0x04


class RouteKind(IntEnum):
    """What a route does with a packet (RTN_*)."""

    UNICAST = 1
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


class NeighbourState(IntEnum):
    """How far the kernel trusts a neighbour entry (NUD_*)."""

    REACHABLE = 0x02
    STALE = 0x04
    NOARP = 0x40
    PERMANENT = 0x80


class Route(msgspec.Struct, frozen=True):
    """A route. `destination` also tells the family, so that a default route is `ANY_V4` or `ANY_V6` with length 0.

    `oif` is an ifindex, 0 for none. `metric` 0 is the kernel's default (0 for IPv4, 1,024 for IPv6). A gateway of the
    other family is allowed for IPv4 destinations (RFC 5549). `mtu` in bytes, 0 for the interface's.
    """

    destination: Address
    prefix_length: int
    gateway: Address | None = None
    oif: int = 0
    metric: int = 0
    kind: RouteKind = RouteKind.UNICAST
    onlink: bool = False
    table: int = MAIN_TABLE
    preferred_source: Address | None = None
    mtu: int = 0


ANY_V4 = bytes(4)
ANY_V6 = bytes(16)


def add_address(
    ifindex: int,
    address: Address,
    prefix_length: int,
    *,
    prefix_route: bool = True,
    replace: bool = False,
    dad: bool = False,
) -> bytes:
    """Give a link an address. IPv6 addresses are usable at once, unless duplicate address detection is asked for."""
    flags = wire.CREATE_OR_REPLACE if replace else wire.CREATE_NEW
    address = wire.packed(address)
    body = _address(ifindex, address, prefix_length)
    if len(address) == 4 and prefix_length < 31:
        body += wire.attribute(IFA_BROADCAST, _broadcast(address, prefix_length))
    ifa_flags = (0 if prefix_route else IFA_F_NOPREFIXROUTE) | (IFA_F_NODAD if len(address) == 16 and not dad else 0)
    if ifa_flags:
        body += wire.u32(IFA_FLAGS, ifa_flags)
    return wire.request(wire.RTM_NEWADDR, flags, body)


def delete_address(ifindex: int, address: Address, prefix_length: int) -> bytes:
    return wire.request(wire.RTM_DELADDR, 0, _address(ifindex, wire.packed(address), prefix_length))


def add_route(route: Route) -> bytes:
    return _route(wire.RTM_NEWROUTE, wire.CREATE_NEW, route)


def replace_route(route: Route) -> bytes:
    """Add a route, or put it in the place of the one with its destination, metric and table."""
    return _route(wire.RTM_NEWROUTE, wire.CREATE_OR_REPLACE, route)


def delete_route(route: Route) -> bytes:
    return _route(wire.RTM_DELROUTE, 0, route)


def set_neighbour(
    ifindex: int, address: Address, mac: bytes, state: NeighbourState = NeighbourState.PERMANENT
) -> bytes:
    """Add or overwrite the hardware address of a neighbour."""
    address = wire.packed(address)
    body = _NEIGHBOUR.pack(wire.family_of(address), ifindex, state, 0, 0)
    body += wire.attribute(NDA_DST, address) + wire.attribute(NDA_LLADDR, mac)
    return wire.request(wire.RTM_NEWNEIGH, wire.CREATE_OR_REPLACE, body)


def delete_neighbour(ifindex: int, address: Address) -> bytes:
    address = wire.packed(address)
    body = _NEIGHBOUR.pack(wire.family_of(address), ifindex, 0, 0, 0) + wire.attribute(NDA_DST, address)
    return wire.request(wire.RTM_DELNEIGH, 0, body)


def set_bridge_entry(port_ifindex: int, mac: bytes) -> bytes:
    """Tell a bridge, for good, that `mac` is reached by this port, so that it never floods frames for it."""
    body = _NEIGHBOUR.pack(wire.AF_BRIDGE, port_ifindex, NeighbourState.NOARP, _NTF_MASTER, 0)
    return wire.request(wire.RTM_NEWNEIGH, wire.CREATE_OR_REPLACE, body + wire.attribute(NDA_LLADDR, mac))


def delete_bridge_entry(port_ifindex: int, mac: bytes) -> bytes:
    body = _NEIGHBOUR.pack(wire.AF_BRIDGE, port_ifindex, 0, _NTF_MASTER, 0) + wire.attribute(NDA_LLADDR, mac)
    return wire.request(wire.RTM_DELNEIGH, 0, body)


def _address(ifindex: int, address: bytes, prefix_length: int) -> bytes:
    link_local = len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80
    scope = _SCOPE_LINK if link_local else _SCOPE_UNIVERSE
    header = _ADDRESS.pack(wire.family_of(address), prefix_length, 0, scope, ifindex)
    return header + wire.attribute(IFA_LOCAL, address) + wire.attribute(IFA_ADDRESS, address)


def _broadcast(address: bytes, prefix_length: int) -> bytes:
    hosts = (1 << (32 - prefix_length)) - 1
    return (int.from_bytes(address) | hosts).to_bytes(4)


def _route(message: int, request_flags: int, route: Route) -> bytes:
    destination = wire.packed(route.destination)
    family = wire.family_of(destination)
    deleting = message == wire.RTM_DELROUTE
    scope = _SCOPE_ANY if deleting else _scope(route, family)
    protocol = 0 if deleting else _PROTOCOL_STATIC
    table = route.table if route.table < 256 else _TABLE_IN_ATTRIBUTE
    flags = RTNH_F_ONLINK if route.onlink else 0
    body = [_ROUTE.pack(family, route.prefix_length, 0, 0, table, protocol, scope, route.kind, flags)]
    if route.prefix_length:
        body.append(wire.attribute(RTA_DST, destination))
    if route.gateway is not None:
        body.append(_gateway(wire.packed(route.gateway), destination))
    if route.oif:
        body.append(wire.u32(RTA_OIF, route.oif))
    if route.metric:
        body.append(wire.u32(RTA_PRIORITY, route.metric))
    if route.preferred_source is not None:
        body.append(wire.attribute(RTA_PREFSRC, wire.packed(route.preferred_source)))
    if route.mtu:
        body.append(wire.nested(RTA_METRICS, wire.u32(RTAX_MTU, route.mtu)))
    if route.table > 255:
        body.append(wire.u32(RTA_TABLE, route.table))
    return wire.request(message, request_flags, b"".join(body))


def _scope(route: Route, family: int) -> int:
    """IPv4 tells a route without a gateway from one with by its scope; IPv6 ignores it."""
    on_link = family == wire.AF_INET and route.gateway is None and route.kind is RouteKind.UNICAST
    return _SCOPE_LINK if on_link else _SCOPE_UNIVERSE


def _gateway(gateway: bytes, destination: bytes) -> bytes:
    if len(gateway) == len(destination):
        return wire.attribute(RTA_GATEWAY, gateway)
    return wire.attribute(RTA_VIA, struct.pack("=H", wire.family_of(gateway)) + gateway)
