"""Requests that make, change and remove links: veth pairs, bridges, their ports (linux/if_link.h)."""

from __future__ import annotations

import struct

import msgspec

from patchbay_runner.kernel.netlink import wire

IFF_UP = 1
LOOPBACK_IFINDEX = 1  # the kernel gives every namespace's loopback this index

_INFO = struct.Struct("=BxHiII")  # family, device type, index, flags, mask of the flags to change

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_NET_NS_FD = 18, 26, 28
IFLA_NUM_TX_QUEUES, IFLA_NUM_RX_QUEUES = 31, 32
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
_IFLA_INET6_ADDR_GEN_MODE = 8
_IN6_ADDR_GEN_MODE_NONE = 1
_BR_FORWARD_DELAY, _BR_STP_STATE, _BR_MCAST_SNOOPING = 1, 5, 23

# A veth otherwise gets one queue for each processor of the machine, each with its own memory and sysfs entries.
_ONE_QUEUE = wire.u32(IFLA_NUM_TX_QUEUES, 1) + wire.u32(IFLA_NUM_RX_QUEUES, 1)
_VETH_KIND = wire.attribute(IFLA_INFO_KIND, b"veth")
_BRIDGE_KIND = wire.attribute(IFLA_INFO_KIND, b"bridge")


class LinkEnd(msgspec.Struct, frozen=True):
    """One end of a veth pair.

    `mac` is six bytes, or empty for one of the kernel's choice. `mtu` in bytes. `ifindex` 0 lets the kernel choose.
    `netns_fd` None is the namespace of the socket that sends the request. `up` is for the near end of a pair: the far
    one can only be brought up once the pair is whole, and the kernel answers ENOTCONN before.
    """

    name: str
    mac: bytes = b""
    mtu: int = 1500
    ifindex: int = 0
    netns_fd: int | None = None
    up: bool = False


def veth(near: LinkEnd, far: LinkEnd, *, master: int = 0) -> bytes:
    """Make a veth pair; `near` becomes a port of the bridge whose ifindex is `master`, in `near`'s namespace.

    The kernel honours `far.ifindex` only when `near.ifindex` is given too. With `near.netns_fd` set, `far` is made
    in the sending socket's namespace, so that one socket inside a device's namespace serves the whole device.
    """
    peer = wire.attribute(VETH_INFO_PEER, _info(far.ifindex, far.up) + _end_attributes(far))
    body = [
        _info(near.ifindex, near.up),
        _end_attributes(near),
        wire.nested(IFLA_LINKINFO, _VETH_KIND, wire.nested(IFLA_INFO_DATA, peer)),
    ]
    if master:
        body.append(wire.u32(IFLA_MASTER, master))
    return wire.request(wire.RTM_NEWLINK, wire.CREATE_NEW, b"".join(body))


def bridge(
    name: str,
    *,
    ifindex: int = 0,
    mac: bytes = b"",
    mtu: int = 1500,
    multicast_snooping: bool = False,
    up: bool = False,
) -> bytes:
    """Make a learning switch: no spanning tree, no forward delay, no VLANs (the kernel's default;
    one without bridge VLANs refuses to be told so).

    Give `mac`: without one the bridge changes its address as ports come, and walks all its ports each time to
    choose. Snooping needs a querier to be right; without it multicast reaches every port, as on a plain switch.
    """
    data = wire.nested(
        IFLA_INFO_DATA,
        wire.u32(_BR_FORWARD_DELAY, 0),
        wire.u32(_BR_STP_STATE, 0),
        wire.u8(_BR_MCAST_SNOOPING, int(multicast_snooping)),
    )
    end = LinkEnd(name, mac, mtu)
    body = _info(ifindex, up) + _end_attributes(end) + wire.nested(IFLA_LINKINFO, _BRIDGE_KIND, data)
    return wire.request(wire.RTM_NEWLINK, wire.CREATE_NEW, body)


def set_up(ifindex: int, up: bool = True) -> bytes:
    """Bring a link up or down."""
    return wire.request(wire.RTM_NEWLINK, 0, _info(ifindex, up, IFF_UP))


def set_link(
    ifindex: int,
    *,
    name: str | None = None,
    mac: bytes | None = None,
    mtu: int | None = None,
    master: int | None = None,
    netns_fd: int | None = None,
) -> bytes:
    """Change what is given. `master` 0 takes the link out of its bridge; `mtu` in bytes."""
    body = [_info(ifindex, False)]
    if netns_fd is not None:
        body.append(wire.u32(IFLA_NET_NS_FD, netns_fd))
    if name is not None:
        body.append(wire.text(IFLA_IFNAME, name))
    if mac is not None:
        body.append(wire.attribute(IFLA_ADDRESS, mac))
    if mtu is not None:
        body.append(wire.u32(IFLA_MTU, mtu))
    if master is not None:
        body.append(wire.u32(IFLA_MASTER, master))
    return wire.request(wire.RTM_NEWLINK, 0, b"".join(body))


def no_generated_addresses(ifindex: int) -> bytes:
    """Keep the kernel from making a link-local address by itself (`addr_gen_mode none`).

    To be sent before the link is brought up, as a request of its own: in one request the kernel applies the flags
    first.
    """
    mode = wire.u8(_IFLA_INET6_ADDR_GEN_MODE, _IN6_ADDR_GEN_MODE_NONE)
    spec = wire.nested(IFLA_AF_SPEC, wire.nested(wire.AF_INET6, mode))
    return wire.request(wire.RTM_SETLINK, 0, _info(ifindex, False) + spec)


def delete_link(ifindex: int) -> bytes:
    """Remove a link, and with it its veth peer."""
    return wire.request(wire.RTM_DELLINK, 0, _info(ifindex, False))


def _info(ifindex: int, up: bool, mask: int | None = None) -> bytes:
    flags = IFF_UP if up else 0
    return _INFO.pack(0, 0, ifindex, flags, flags if mask is None else mask)


def _end_attributes(end: LinkEnd) -> bytes:
    attributes = wire.text(IFLA_IFNAME, end.name) + wire.u32(IFLA_MTU, end.mtu) + _ONE_QUEUE
    if end.mac:
        attributes += wire.attribute(IFLA_ADDRESS, end.mac)
    if end.netns_fd is not None:
        attributes += wire.u32(IFLA_NET_NS_FD, end.netns_fd)
    return attributes
