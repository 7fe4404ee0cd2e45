"""Blueprint to netlink requests, as bytes. Pure: the same requests build a lab and restore an interface later."""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET, AF_INET6

from patchbay_runner.kernel import netlink
from patchbay_runner.lab.blueprint import Bridge, InterfaceBlueprint, NodeBlueprint
from patchbay_runner.lab.routing import Route
from patchbay_runner.model.topology import LEAST_IPV6_MTU

# The kernel's neighbour tables hold 1,024 entries for all namespaces of a stock host, and an entry cannot give way
# before it is stale, which takes 15 to 45 s as it comes. IPv6 probes a neighbour from the link-local address, which
# doubles the entries of a pair. Without probes, an answer that nothing has confirmed is asked for again; what a fast
# sender sends meanwhile has room to wait. Measured with 1,000 members: 500 new pairs in 8 s for as long as one likes,
# instead of 260 pairs and then a wait of 45 s.
_CROWDED_REACHABLE_MS = 4000
_CROWDED_QUEUE_BYTES = 4 << 20

# Behind the kernel's own for a route that names none: 0 for IPv4, 1,024 for IPv6.
_LAST_METRIC = 4096


def bridge_requests(bridge: Bridge) -> Iterator[bytes]:
    """Makes a bridge, down, and joins a further one to the first of its LAN by a cable."""
    # A bridge takes on the smallest MTU of its ports, so one narrow link would narrow those of all others, unless its
    # own was changed (BROPT_MTU_SET_BY_USER, net/bridge/br_if.c). The one that it is made with does not count.
    yield netlink.bridge(bridge.name, ifindex=bridge.index, mac=bridge.mac, mtu=bridge.mtu ^ 1)
    yield netlink.set_link(bridge.index, mtu=bridge.mtu)
    if bridge.uplink is not None:
        near = netlink.LinkEnd(f"{bridge.name}-up", mtu=bridge.mtu, ifindex=bridge.index + 1, up=True)
        far = netlink.LinkEnd(f"{bridge.name}-dn", mtu=bridge.mtu, ifindex=bridge.index + 2)
        yield netlink.veth(near, far, master=bridge.index)
        yield netlink.set_link(far.ifindex, master=bridge.uplink)
        yield netlink.set_up(far.ifindex)


def cable_request(interface: InterfaceBlueprint, owner_netns: int) -> bytes:
    """Makes the veth pair of an interface, sent inside its namespace. A port is up; an interface is to be raised."""
    cable, port = interface.cable, interface.port
    assert cable is not None
    is_port = cable.bridge_index is not None
    near = netlink.LinkEnd(
        cable.port_name,
        mac=cable.port_mac,
        mtu=interface.mtu,
        ifindex=cable.port_index,
        netns_fd=owner_netns,
        up=is_port,
    )
    far = netlink.LinkEnd(port.interface, mac=port.mac, mtu=interface.mtu, ifindex=interface.index)
    return netlink.veth(near, far, master=cable.bridge_index or 0)


def address_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    """Gives an interface that exists the addresses that it has at once; replaces those that it has already."""
    port, index = interface.port, interface.index
    if port.v4 is not None:
        yield netlink.add_address(index, port.v4.packed, port.v4.network.prefixlen, replace=True)
    if not interface.configures_itself:
        yield from ipv6_address_requests(interface)


def ipv6_address_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    """The same for IPv6 alone, also where the interface probes for duplicates. Safe to repeat."""
    port, index, dad = interface.port, interface.index, interface.has_dad
    if port.v6 is not None and port.link_local is not None:
        yield netlink.add_address(index, port.link_local.packed, 64, replace=True, dad=dad)
        yield netlink.add_address(index, port.v6.packed, port.v6.network.prefixlen, replace=True, dad=dad)


def neighbour_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    """Permanent neighbours: they cost nothing of the host-wide neighbour table and need no ARP."""
    port = interface.port
    for neighbour in interface.neighbours:
        if port.v4 is not None and neighbour.v4 is not None:
            yield netlink.set_neighbour(interface.index, neighbour.v4.packed, neighbour.mac)
        if port.v6 is not None and neighbour.v6 is not None and neighbour.link_local is not None:
            yield netlink.set_neighbour(interface.index, neighbour.v6.packed, neighbour.mac)
            yield netlink.set_neighbour(interface.index, neighbour.link_local.packed, neighbour.mac)


def route_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    for route in interface.routes:
        yield netlink.replace_route(netlink_route(route, interface.index))


def netlink_route(route: Route, index: int) -> netlink.Route:
    destination = route.destination
    if route.is_blackhole:
        return netlink.Route(
            destination.network_address.packed,
            destination.prefixlen,
            metric=_LAST_METRIC,
            kind=netlink.RouteKind.BLACKHOLE,
        )
    return netlink.Route(
        destination.network_address.packed,
        destination.prefixlen,
        gateway=route.via.packed if route.via is not None else None,
        oif=index,
        mtu=route.mtu or 0,
    )


def settled_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    """What an interface that is up is to have: addresses, neighbours, routes. Safe to repeat."""
    yield from address_requests(interface)
    yield from neighbour_requests(interface)
    yield from route_requests(interface)


def member_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    """Everything of a member's interface but its cable, and IPv6 addresses that come later. Safe to repeat."""
    # The kernel takes IPv6 off an interface that is narrower.
    if interface.mtu >= LEAST_IPV6_MTU:
        yield netlink.no_generated_addresses(interface.index)
    if interface.is_crowded:
        yield from _crowded_requests(interface)
    yield netlink.set_up(interface.index)
    yield from settled_requests(interface)


def router_down_requests(node: NodeBlueprint) -> Iterator[bytes]:
    """Takes a router's uplink and bridges down, so that it carries nothing, not even between members of its LAN.

    The LAN's ports stay up, or members would have to find out that they are.
    """
    for interface in node.interfaces:
        if interface.cable is not None:
            yield netlink.set_up(interface.index, up=False)
    for bridge in node.bridges:
        yield netlink.set_up(bridge.index, up=False)


def router_up_requests(node: NodeBlueprint) -> Iterator[bytes]:
    """Brings it back with the addresses, neighbours and routes that the kernel forgot meanwhile."""
    for bridge in reversed(node.bridges):
        yield netlink.set_up(bridge.index)
    for interface in node.interfaces:
        yield from settled_requests(interface) if interface.cable is None else member_requests(interface)


def _crowded_requests(interface: InterfaceBlueprint) -> Iterator[bytes]:
    for family, address in ((AF_INET, interface.port.v4), (AF_INET6, interface.port.v6)):
        if address is not None:
            yield netlink.resolve_neighbours(
                interface.index,
                family,
                reachable_ms=_CROWDED_REACHABLE_MS,
                unicast_probes=0,
                queue_bytes=_CROWDED_QUEUE_BYTES,
            )
