"""What a request asks for, in words. Only read when the kernel has refused it, so that sending formats nothing."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from patchbay_runner.kernel.netlink import addresses, links, resolution, wire

_U32 = struct.Struct("=I")
_VERBS = {0: "add", 1: "delete", 2: "read", 3: "set"}  # rtnetlink numbers every object's messages in this order


def describe(request: bytes) -> str:
    """A request as an engineer would say it: "add route 10.0.1.0/24 via 10.0.0.1"."""
    _, kind, flags, _, _ = wire.HEADER.unpack_from(request)
    describe_body = _BODIES.get(kind & ~3)
    if describe_body is None:
        return f"netlink request {kind}"
    verb = _VERBS[kind & 3]
    if verb == "add" and not flags & wire.NLM_F_CREATE:
        verb = "set"
    elif verb == "add" and flags & wire.NLM_F_REPLACE:
        verb = "replace"
    return f"{verb} {describe_body(request[wire.HEADER_SIZE :])}"


def _link(body: bytes) -> str:
    ifindex, flags, mask = struct.unpack_from("=iII", body, 4)
    attributes = wire.parse_attributes(body, 16)
    name = _text(attributes.get(links.IFLA_IFNAME, b""))
    info = wire.parse_attributes(attributes.get(links.IFLA_LINKINFO, b""), 0)
    words = [_text(info.get(links.IFLA_INFO_KIND, b"")) or "link", name or f"index {ifindex}"]
    if peer := _peer_name(info):
        words.append(f"with peer {peer}")
    if master := attributes.get(links.IFLA_MASTER):
        words.append(f"in bridge {_number(master)}")
    if links.IFLA_AF_SPEC in attributes:
        words.append("addr_gen_mode none")
    if mtu := attributes.get(links.IFLA_MTU):
        words.append(f"mtu {_number(mtu)}")
    if mask & links.IFF_UP:
        words.append("up" if flags & links.IFF_UP else "down")
    return " ".join(words)


def _peer_name(info: dict[int, bytes]) -> str:
    data = wire.parse_attributes(info.get(links.IFLA_INFO_DATA, b""), 0)
    if _text(info.get(links.IFLA_INFO_KIND, b"")) != "veth" or links.VETH_INFO_PEER not in data:
        return ""
    peer = wire.parse_attributes(data[links.VETH_INFO_PEER], 16)
    return _text(peer.get(links.IFLA_IFNAME, b""))


def _address(body: bytes) -> str:
    family, length, _, _, ifindex = struct.unpack_from("=BBBBI", body)
    attributes = wire.parse_attributes(body, 8)
    address = attributes.get(addresses.IFA_LOCAL) or attributes.get(addresses.IFA_ADDRESS, b"")
    return f"address {_ip(family, address)}/{length} on index {ifindex}"


def _route(body: bytes) -> str:
    family, length = body[0], body[1]
    attributes = wire.parse_attributes(body, 12)
    destination = attributes.get(addresses.RTA_DST)
    words = ["route", f"{_ip(family, destination)}/{length}" if destination else "default"]
    if not destination and family == wire.AF_INET6:
        words.append("(IPv6)")
    if body[7] != addresses.RouteKind.UNICAST:
        words.append(addresses.RouteKind(body[7]).name.lower())
    if gateway := attributes.get(addresses.RTA_GATEWAY):
        words.append(f"via {_ip(family, gateway)}")
    if via := attributes.get(addresses.RTA_VIA):
        words.append(f"via {_ip(struct.unpack_from('=H', via)[0], via[2:])}")
    if oif := attributes.get(addresses.RTA_OIF):
        words.append(f"dev index {_number(oif)}")
    if metric := attributes.get(addresses.RTA_PRIORITY):
        words.append(f"metric {_number(metric)}")
    return " ".join(words)


def _neighbour(body: bytes) -> str:
    family, ifindex = struct.unpack_from("=Bxxxi", body)
    attributes = wire.parse_attributes(body, 12)
    mac = attributes.get(addresses.NDA_LLADDR, b"").hex(":")
    if family == wire.AF_BRIDGE:
        return f"bridge entry {mac} on index {ifindex}"
    at = f" at {mac}" if mac else ""
    return f"neighbour {_ip(family, attributes.get(addresses.NDA_DST, b''))}{at} on index {ifindex}"


def _resolution(body: bytes) -> str:
    attributes = wire.parse_attributes(body, 4)
    settings = wire.parse_attributes(attributes.get(resolution.NDTA_PARMS, b""), 0)
    table = _text(attributes.get(resolution.NDTA_NAME, b""))
    return f"{table} of index {_number(settings[resolution.NDTPA_IFINDEX])}"


def _qdisc(body: bytes) -> str:
    ifindex, handle, parent = struct.unpack_from("=iII", body, 4)
    kind = _text(wire.parse_attributes(body, 20).get(wire.TCA_KIND, b"")) or "qdisc"
    number = f" {handle >> 16:x}:" if handle else ""
    return f"{kind}{number} at {_tc_place(parent)} of index {ifindex}"


def _filter(body: bytes) -> str:
    ifindex, _, parent, info = struct.unpack_from("=iIII", body, 4)
    kind = _text(wire.parse_attributes(body, 20).get(wire.TCA_KIND, b""))
    return f"{kind} filter {info >> 16} at {_tc_place(parent)} of index {ifindex}".lstrip()


def _tc_place(parent: int) -> str:
    return _TC_PLACES.get(parent) or f"{parent >> 16:x}:{parent & 0xFFFF:x}"


def _ip(family: int, address: bytes) -> str:
    if len(address) != (4 if family == wire.AF_INET else 16):
        return address.hex() or "?"
    return socket.inet_ntop(family, address)


def _number(value: bytes) -> int:
    number: int = _U32.unpack_from(value)[0]
    return number


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


_TC_PLACES = {
    wire.TC_H_ROOT: "the root",
    wire.TC_H_CLSACT: "the hooks",
    wire.CLSACT_INGRESS: "the ingress",
    wire.CLSACT_EGRESS: "the egress",
}

_BODIES: dict[int, Callable[[bytes], str]] = {
    wire.RTM_NEWLINK: _link,
    wire.RTM_NEWADDR: _address,
    wire.RTM_NEWROUTE: _route,
    wire.RTM_NEWNEIGH: _neighbour,
    wire.RTM_NEWNEIGHTBL: _resolution,
    wire.RTM_NEWQDISC: _qdisc,
    wire.RTM_NEWTFILTER: _filter,
}
