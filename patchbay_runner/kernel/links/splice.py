"""The way of a link's frames out of the kernel and back into it, through the namespace of its port only.

::

    up:    member ──► port ingress ──tc──► near ══ far ──socket──► relay ──socket──► far ══ near ──tc──► port ingress
    down:  bridge ──► port egress  ──tc──► near ══ far ──socket──► relay ──socket, past the qdisc──► port ──► member

Each direction has a helper veth pair of its own, near and far. What the relay sends up carries a mark, by which the
port's classifier lets it pass the second time; only a frame that comes from outside the namespace can meet that
classifier, and such a one has lost any mark. The far ends are ports of a bridge that is never up: it swallows what the
packet sockets have seen, so that the router's own stack never receives a frame twice.
"""

from __future__ import annotations

import errno
import re
import socket
from contextlib import ExitStack

import msgspec

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.links import tc
from patchbay_runner.kernel.links.engine import LinkPort, Way
from patchbay_runner.kernel.links.frames import receiving_socket, sending_socket
from patchbay_runner.kernel.links.offloads import keep_describable_segments
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.netlink import LinkEnd, NetlinkSocket, await_carrier, bridge, delete_link, set_up, veth
from patchbay_runner.kernel.netlink.links import set_link

RETURNED_MARK = 0x7062
_PREFERENCE = 1
# A bridge takes 1,023 ports.
_PORTS_PER_SINK = 1_000
_HELPER_MTU = 65_535
# The indices of what is made here, beyond those that a lab gives to its own: the kernel's choice would be one that a
# port is to have which comes later.
_FIRST_SINK_INDEX = 1 << 23
FIRST_INDEX = 1 << 24


class Splice(msgspec.Struct, frozen=True):
    """One spliced direction of a link. `near` is the index of its helper pair's end."""

    port: LinkPort
    way: Way
    near: int


def splice(port: LinkPort, way: Way, number: int) -> tuple[Splice, socket.socket, socket.socket]:
    """Makes the helper pair and its sockets (receiving, sending); nothing flows through it before `divert`.

    `number` must be unique in the sandbox.
    """
    near_name, far_name = near_end_name(way, number, port.ifindex), f"em{number}"
    with entered(port.netns), NetlinkSocket(port.node) as sock, ExitStack() as undo:
        sink = _sink(sock, number)
        near, far = FIRST_INDEX + 2 * number, FIRST_INDEX + 2 * number + 1
        ends = LinkEnd(near_name, mtu=_HELPER_MTU, ifindex=near), LinkEnd(far_name, mtu=_HELPER_MTU, ifindex=far)
        sock.request(veth(*ends))
        undo.callback(sock.request, delete_link(near))
        sock.batch([set_link(far, master=sink), set_up(near), set_up(far)])
        keep_describable_segments(near_name)
        keep_describable_segments(far_name)
        receiving = undo.enter_context(receiving_socket(far))
        if way == "up":
            sending = undo.enter_context(sending_socket(far, RETURNED_MARK))
            to_port = tc.add_redirect(near, tc.INGRESS, _PREFERENCE, port.ifindex, to=tc.TO_INGRESS)
            sock.batch([tc.add_clsact(near), to_port])
        else:
            sending = undo.enter_context(sending_socket(port.ifindex))
        _add_hooks(sock, port.ifindex)
        # A link that is not there yet swallows what is diverted to it: five first packets of three hundred were lost.
        await_carrier(sock, near, far)
        undo.pop_all()
    return Splice(port, way, near), receiving, sending


def near_end_name(way: Way, number: int, ifindex: int) -> str:
    """Tells whoever sees the pair's frames whose they are, as `diverted_from` reads it."""
    return f"em{number}{way[0]}{ifindex}"


def diverted_from(name: str) -> int | None:
    """Of a near end of the way down: the index of the interface whose outgoing frames leave by it instead."""
    found = re.fullmatch(r"em\d+d(\d+)", name)
    return int(found[1]) if found else None


def divert(splice: Splice) -> None:
    """Sends the direction's frames through the helper pair, from one frame to the next."""
    hook, mark = _hook(splice.way)
    redirect = tc.add_redirect(splice.port.ifindex, hook, _PREFERENCE, splice.near, unless_mark=mark)
    _request(splice.port, redirect)


def restore(splice: Splice) -> None:
    """Lets the direction's frames pass directly again; the helper pair stays for what is still under way."""
    hook, _ = _hook(splice.way)
    _request(splice.port, tc.delete_redirect(splice.port.ifindex, hook, _PREFERENCE))


def remove(splice: Splice) -> None:
    """Removes the helper pair."""
    _request(splice.port, delete_link(splice.near))


def _hook(way: Way) -> tuple[int, int]:
    return (tc.INGRESS, RETURNED_MARK) if way == "up" else (tc.EGRESS, 0)


def _request(port: LinkPort, request: bytes) -> None:
    with NetlinkSocket.inside(port.netns, port.node) as sock:
        sock.request(request)


def _sink(sock: NetlinkSocket, number: int) -> int:
    """The index of a bridge that stays down, made when it is needed first."""
    name, index = f"em-sink{number // _PORTS_PER_SINK}", _FIRST_SINK_INDEX + number // _PORTS_PER_SINK
    if name not in (found for _, found in socket.if_nameindex()):
        # A given address spares the bridge a walk over its ports for each that comes or goes.
        sock.request(bridge(name, ifindex=index, mac=bytes((0x0A, 0x70, 0x62, 0, 0, 0)), mtu=_HELPER_MTU))
    return index


def _add_hooks(sock: NetlinkSocket, ifindex: int) -> None:
    try:
        sock.request(tc.add_clsact(ifindex))
    except KernelError as error:
        if error.errno != errno.EEXIST:  # an empty clsact costs nothing and is left behind
            raise
