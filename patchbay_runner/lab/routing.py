"""Which routes every node has. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import msgspec

from patchbay_runner.lab.addressing import IX, AddressPlan, Port, routers_outside_in
from patchbay_runner.model.topology import NatV6, Router, Topology

DEFAULT_MTU = 1500


class Route(msgspec.Struct, frozen=True):
    """`mtu` is set where the path behind the next hop carries less than the outgoing interface.

    A blackhole leaves by no interface, and is for packets that no other route to the same destination takes.
    """

    destination: IPv4Network | IPv6Network
    via: IPv4Address | IPv6Address | None
    mtu: int | None = None
    is_blackhole: bool = False


class PrefixMapping(msgspec.Struct, frozen=True):
    """What addresses below a prefix are on a router's inside, and what they are on its outside; both are as long."""

    inside: IPv6Network
    outside: IPv6Network


def default_routes(gateway: Port, member: Port) -> tuple[Route, ...]:
    """A member's default routes in the families it shares with its gateway.

    IPv6 goes by the gateway's link-local address, as hosts learn it.
    """
    routes = []
    if gateway.v4 is not None and member.v4 is not None:
        routes.append(Route(IPv4Network("0.0.0.0/0"), gateway.v4.ip))
    if gateway.link_local is not None and member.v6 is not None:
        routes.append(Route(IPv6Network("::/0"), gateway.link_local))
    return tuple(routes)


def routes_inside(topology: Topology, plan: AddressPlan) -> dict[str, list[Route]]:
    """What every router and the exchange route to the LANs of routers behind them, by owner."""
    routers = {router.name: router for router in topology.routers}
    routes: dict[str, list[Route]] = {name: [] for name in (IX, *routers)}
    for router in routers_outside_in(topology):
        for owner, route in _announced(router, routers, plan):
            routes[owner].append(route)
    return routes


def prefix_mappings(topology: Topology, plan: AddressPlan) -> dict[str, list[PrefixMapping]]:
    """What every router with NPTv6 maps: each prefix behind it has one of its own outside."""
    routers = {router.name: router for router in topology.routers}
    mappings: dict[str, list[PrefixMapping]] = {name: [] for name in routers}
    for router in routers_outside_in(topology):
        v6 = plan.lans[router.name].v6
        child: Router | None = router
        while child is not None and v6 is not None and not child.is_isolated:
            above = _seen_above(child, router.name, v6, plan)
            if child.nat_v6 is NatV6.NPTV6 and above is not None:
                mappings[child.name].append(PrefixMapping(v6, above))
            v6 = above
            child = None if child.upstream is None else routers[child.upstream]
    return mappings


def narrow_members(members: tuple[Port, ...], mtus: Mapping[tuple[str, str], int], lan_mtu: int) -> Iterator[Route]:
    """Host routes to members with a smaller MTU, so that the LAN's owner answers what does not fit (RFC 1191)."""
    for member in members:
        mtu = mtus[member.node, member.interface]
        if mtu >= lan_mtu:
            continue
        if member.v4 is not None:
            yield Route(IPv4Network(member.v4.ip), None, mtu)
        if member.v6 is not None:
            yield Route(IPv6Network(member.v6.ip), None, mtu)


def dead_ends(owner: Router | None) -> Iterator[Route]:
    """Where an isolated router sends what is for no LAN that it knows: nowhere, and without a word."""
    if owner is not None and owner.is_isolated:
        if owner.ip_support.v4:
            yield Route(IPv4Network("0.0.0.0/0"), None, is_blackhole=True)
        if owner.ip_support.v6:
            yield Route(IPv6Network("::/0"), None, is_blackhole=True)


def lan_mtu(owner: Router | None) -> int:
    """The MTU of a router's LAN, of the exchange for None."""
    return DEFAULT_MTU if owner is None else owner.mtu or DEFAULT_MTU


def _announced(router: Router, routers: Mapping[str, Router], plan: AddressPlan) -> Iterator[tuple[str, Route]]:
    """Routes to the router's LAN for every router above it, up to the first that hides it or is isolated."""
    lan = plan.lans[router.name]
    v4, v6, mtu = lan.v4, lan.v6, DEFAULT_MTU
    child: Router | None = router
    while child is not None and not child.is_isolated:
        wan = plan.wan(child)
        v4 = None if child.nat.config is not None or wan.v4 is None else v4
        v6 = None if v6 is None else _seen_above(child, router.name, v6, plan)
        # Above a black hole nobody knows how narrow it is and what lies behind it, or they would tell.
        mtu = DEFAULT_MTU if child.block_icmp_frag_needed else min(mtu, lan_mtu(child))
        above = None if child.upstream is None else routers[child.upstream]
        narrow = mtu if mtu < lan_mtu(above) else None
        owner = IX if above is None else above.name
        if v4 is not None and wan.v4 is not None:
            yield owner, Route(v4, wan.v4.ip, narrow)
        if v6 is not None and wan.link_local is not None:
            yield owner, Route(v6, wan.link_local, narrow)
        child = above


def _seen_above(child: Router, owner: str, v6: IPv6Network, plan: AddressPlan) -> IPv6Network | None:
    """What the LAN of `owner`, which `child` knows as `v6`, is above `child`; None where it is hidden."""
    if child.nat_v6 is NatV6.MASQUERADE or plan.wan(child).v6 is None:
        return None
    return plan.mapped(child.name, owner) if child.nat_v6 is NatV6.NPTV6 else v6
