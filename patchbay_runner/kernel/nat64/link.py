"""The link between a router and its translator: a veth pair, routes into it, and a packet socket at its far end.

The far end lies in a network namespace of its own, which the socket alone keeps alive: when the translator ends, the
kernel removes the pair and with it the routes. No tun device is needed, which an ordinary user could not open.
"""

from __future__ import annotations

import errno
import os
import socket

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.namespaces import entered, new_network_namespace
from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.netlink import LinkEnd, NetlinkSocket
from patchbay_runner.kernel.sysctl import Sysctls

INTERFACE = "nat64"
ROUTER_MAC = b"\x02pbn64"
# The next hop of the routes. Nobody has this address: a frame to the far end's own would be taken for one to be
# forwarded by the kernel there.
TRANSLATOR_MAC = b"\x02pbN64"
_NEXT_HOP = b"\xfe\x80" + bytes(13) + b"\x64"

# Unsegmented packets, and ICMP that was put together from fragments, are larger than any link's MTU.
_MTU = 65_535
_HEADER_DIFFERENCE = 20
_FAR_IFINDEX = 2

_ETH_P_ALL = 0x0003
_SOL_PACKET = 263
_PACKET_VNET_HDR, _PACKET_QDISC_BYPASS, _PACKET_IGNORE_OUTGOING = 15, 20, 23
_SO_RCVBUFFORCE = 33
# Two hundred packets of the largest size: what TCP has under way when the translator waits for a processor.
_RECEIVE_BYTES = 16 << 20


def open_link(router_netns: int, config: Nat64Config, node: str = "") -> socket.socket:
    """Makes the link and its routes in the router. Raises KernelError; then there is nothing of it."""
    far = new_network_namespace()
    try:
        with entered(far):
            sock = _far_end(router_netns, node)
    finally:
        os.close(far)
    try:
        with entered(router_netns):
            _near_end(config, node)
    except KernelError:
        sock.close()
        close_link(router_netns, node)
        raise
    return sock


def close_link(router_netns: int, node: str = "") -> None:
    """Removes the interface from the router at once, if it is still there. Raises KernelError.

    The kernel does so by itself when the far end's namespace is gone, but some time later.
    """
    with entered(router_netns):
        try:
            index = socket.if_nametoindex(INTERFACE)
        except OSError:
            return
        with NetlinkSocket(node) as requests:
            try:
                requests.request(netlink.delete_link(index))
            except KernelError as error:
                if error.errno != errno.ENODEV:  # gone meanwhile
                    raise


def _far_end(router_netns: int, node: str) -> socket.socket:
    near = LinkEnd(INTERFACE, mac=ROUTER_MAC, mtu=_MTU, netns_fd=router_netns)
    far = LinkEnd(INTERFACE, mtu=_MTU, ifindex=_FAR_IFINDEX)
    with NetlinkSocket(node) as requests:
        requests.batch(
            [netlink.veth(near, far), netlink.no_generated_addresses(_FAR_IFINDEX), netlink.set_up(_FAR_IFINDEX)]
        )
    try:
        return _packet_socket()
    except OSError as error:
        raise KernelError("open the translator's packet socket", error.errno or 0, node) from error


def _packet_socket() -> socket.socket:
    # Without a protocol it receives nothing until it is bound, when its options stand.
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    try:
        for option in (_PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING, _PACKET_QDISC_BYPASS):
            sock.setsockopt(_SOL_PACKET, option, 1)
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        except PermissionError:
            # In a user namespace the host's rmem_max bounds it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        sock.bind((INTERFACE, _ETH_P_ALL))
    except OSError:
        sock.close()
        raise
    return sock


def _near_end(config: Nat64Config, node: str) -> None:
    index = socket.if_nametoindex(INTERFACE)
    sysctls = Sysctls()
    try:
        # A router's new interfaces have no IPv6 of their own, for its LAN ports' sake.
        sysctls.write(node, [(f"ipv6/conf/{INTERFACE}/disable_ipv6", "0")])
    finally:
        sysctls.close()
    pool, prefix = config.pool, config.prefix
    # The kernel tells senders, or fragments, what would not fit the LAN once it has an IPv6 header.
    to_clients = netlink.Route(
        pool.network_address.packed, pool.prefixlen, _NEXT_HOP, index, mtu=config.lan_mtu - _HEADER_DIFFERENCE
    )
    to_hosts = netlink.Route(prefix.network_address.packed, prefix.prefixlen, _NEXT_HOP, index)
    with NetlinkSocket(node) as requests:
        requests.batch(
            [
                netlink.no_generated_addresses(index),
                netlink.set_up(index),
                netlink.set_neighbour(index, _NEXT_HOP, TRANSLATOR_MAC),
                netlink.add_route(to_hosts),
                netlink.add_route(to_clients),
            ]
        )
