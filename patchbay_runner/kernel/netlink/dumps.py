"""The kernel's tables of a network namespace, read back: links with their counters, addresses, routes, neighbours."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from patchbay_runner.kernel.netlink import addresses, links, wire
from patchbay_runner.kernel.netlink.socket import NetlinkSocket

_IFLA_STATS64 = 23
_IFLA_OPERSTATE = 16
_IF_OPER_UP = b"\x06"
_STATISTICS = struct.Struct("=8Q")  # the first counters of struct rtnl_link_stats64
_U32 = struct.Struct("=I")


class LinkCounters(msgspec.Struct, frozen=True):
    """What a link has received and sent since it was made."""

    rx_packets: int = 0
    tx_packets: int = 0
    rx_bytes: int = 0
    tx_bytes: int = 0
    rx_errors: int = 0
    tx_errors: int = 0
    rx_dropped: int = 0
    tx_dropped: int = 0


class Link(msgspec.Struct, frozen=True):
    """A link. `kind` is "veth", "bridge", … or "".

    `carries` says that its other end is up as well, and that the kernel has got round to letting frames pass. For a
    moment before that the link is in the state "unknown": it counts as running and drops what it is given.
    """

    ifindex: int
    name: str
    kind: str
    mac: bytes
    mtu: int
    up: bool
    carries: bool
    master: int
    counters: LinkCounters


class LinkAddress(msgspec.Struct, frozen=True):
    """An address of a link. `flags` are IFA_F_*."""

    ifindex: int
    address: IPv4Address | IPv6Address
    prefix_length: int
    flags: int


class Neighbour(msgspec.Struct, frozen=True):
    """A neighbour entry. `state` is a bit of NUD_*; `mac` is empty while it is not resolved."""

    ifindex: int
    address: IPv4Address | IPv6Address
    mac: bytes
    state: int


def dump_links(sock: NetlinkSocket) -> list[Link]:
    return [_link(body) for body in sock.dump(_request(wire.RTM_GETLINK, 16))]


def get_link(sock: NetlinkSocket, ifindex: int) -> Link:
    """One link. Raises KernelError when there is none of that index."""
    return _link(sock.ask(wire.request(wire.RTM_GETLINK, 0, struct.pack("=BxHiII", 0, 0, ifindex, 0, 0))))


def dump_addresses(sock: NetlinkSocket) -> list[LinkAddress]:
    return [_address(body) for body in sock.dump(_request(wire.RTM_GETADDR, 8))]


def dump_routes(sock: NetlinkSocket, table: int = addresses.MAIN_TABLE) -> list[addresses.Route]:
    """The routes of one table, those of the kernel's own making included."""
    found = (_route(body) for body in sock.dump(_request(wire.RTM_GETROUTE, 12)))
    return [route for route in found if route is not None and route.table == table]


def dump_neighbours(sock: NetlinkSocket) -> list[Neighbour]:
    return [_neighbour(body) for body in sock.dump(_request(wire.RTM_GETNEIGH, 12))]


def _request(kind: int, header_size: int) -> bytes:
    return wire.request(kind, wire.NLM_F_DUMP, bytes(header_size))


def _link(body: bytes) -> Link:
    ifindex, flags = struct.unpack_from("=iI", body, 4)
    attributes = wire.parse_attributes(body, 16)
    info = wire.parse_attributes(attributes.get(links.IFLA_LINKINFO, b""), 0)
    statistics = attributes.get(_IFLA_STATS64, b"")
    return Link(
        ifindex,
        _text(attributes[links.IFLA_IFNAME]),
        _text(info.get(links.IFLA_INFO_KIND, b"")),
        attributes.get(links.IFLA_ADDRESS, b""),
        _number(attributes, links.IFLA_MTU),
        bool(flags & links.IFF_UP),
        attributes.get(_IFLA_OPERSTATE) == _IF_OPER_UP,
        _number(attributes, links.IFLA_MASTER),
        LinkCounters(*_STATISTICS.unpack_from(statistics)) if statistics else LinkCounters(),
    )


def _address(body: bytes) -> LinkAddress:
    _, length, short_flags, _, ifindex = struct.unpack_from("=BBBBI", body)
    attributes = wire.parse_attributes(body, 8)
    address = attributes.get(addresses.IFA_LOCAL) or attributes[addresses.IFA_ADDRESS]
    flags = _number(attributes, addresses.IFA_FLAGS) or short_flags
    return LinkAddress(ifindex, ip_address(address), length, flags)


def _route(body: bytes) -> addresses.Route | None:
    """None for a route whose kind we never make (local, broadcast, multicast)."""
    family, length, table, kind, flags = struct.unpack_from("=BBxxBxxBI", body)
    if kind not in set(addresses.RouteKind):
        return None
    attributes = wire.parse_attributes(body, 12)
    any_address = bytes(4 if family == wire.AF_INET else 16)
    metrics = wire.parse_attributes(attributes.get(addresses.RTA_METRICS, b""), 0)
    return addresses.Route(
        ip_address(attributes.get(addresses.RTA_DST, any_address)),
        length,
        _gateway(attributes),
        _number(attributes, addresses.RTA_OIF),
        _number(attributes, addresses.RTA_PRIORITY),
        addresses.RouteKind(kind),
        bool(flags & addresses.RTNH_F_ONLINK),
        _number(attributes, addresses.RTA_TABLE) or table,
        _optional_address(attributes.get(addresses.RTA_PREFSRC)),
        _number(metrics, addresses.RTAX_MTU),
    )


def _gateway(attributes: dict[int, bytes]) -> IPv4Address | IPv6Address | None:
    via = attributes.get(addresses.RTA_VIA)
    return _optional_address(via[2:] if via else attributes.get(addresses.RTA_GATEWAY))


def _neighbour(body: bytes) -> Neighbour:
    ifindex, state = struct.unpack_from("=xxxxiH", body)
    attributes = wire.parse_attributes(body, 12)
    address = ip_address(attributes[addresses.NDA_DST])
    return Neighbour(ifindex, address, attributes.get(addresses.NDA_LLADDR, b""), state)


def _optional_address(packed: bytes | None) -> IPv4Address | IPv6Address | None:
    return None if packed is None else ip_address(packed)


def _number(attributes: dict[int, bytes], kind: int) -> int:
    value = attributes.get(kind)
    number: int = _U32.unpack_from(value)[0] if value else 0
    return number


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
