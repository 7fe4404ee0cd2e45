"""The links between region routers: their cables, addresses, and the routes that lead over them. Pure.

They are numbered in the order of their declaration and never change, so they are no part of the address plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from itertools import chain

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab.addressing import AddressPlan, Port, link_local_address
from patchbay_runner.lab.regions import region_router
from patchbay_runner.lab.routing import Route
from patchbay_runner.model.ranges import REGION_LINKS_V4, REGION_LINKS_V6
from patchbay_runner.model.regions import region_links
from patchbay_runner.model.topology import RegionLink, Topology

# Beyond the ports of any LAN. The ends of a cable differ in it: where they do not, the kernel may notice only after a
# second that the cable carries again (linkwatch_urgent_event, net/core/link_watch.c).
FIRST_LINK_INDEX = 1 << 20


class RegionCable(msgspec.Struct, frozen=True):
    """A region link's veth pair: `near` is its end at the router of region `link.a`, `far` that at `link.b`'s."""

    link: RegionLink
    near: Port
    far: Port

    @property
    def ends(self) -> tuple[Port, Port]:
        return self.near, self.far


def region_cables(topology: Topology) -> tuple[RegionCable, ...]:
    """The cables of all region links. Raises LabError when there are more than addresses for them."""
    prefixes = chain.from_iterable(block.subnets(new_prefix=30) for block in REGION_LINKS_V4)
    cables = []
    for number, link in enumerate(region_links(topology.regions, topology.region_links), 1):
        v4 = next(prefixes, None)
        if v4 is None:
            raise LabError("there is no IPv4 prefix left for the link of its region to another", region_router(link.a))
        v6 = IPv6Network((int(REGION_LINKS_V6.network_address) + (number << 64), 126))
        near, far = (_end(link, number, side, v4, v6) for side in (1, 2))
        cables.append(RegionCable(link, near, far))
    return tuple(cables)


def _end(link: RegionLink, number: int, side: int, v4: IPv4Network, v6: IPv6Network) -> Port:
    """One end of a link; its `lan` is the router at the other."""
    here, there = (link.a, link.b) if side == 1 else (link.b, link.a)
    # The plan's hardware addresses begin 02:70:62, those of further bridges 06.
    mac = bytes((0x0E, 0x70, 0x62, 0, number, side))
    return Port(
        node=region_router(here),
        interface=f"link{number}",
        index=FIRST_LINK_INDEX + 2 * number + side,
        lan=region_router(there),
        slot=0,
        number=number,
        mac=mac,
        v4=IPv4Interface((int(v4.network_address) + side, v4.prefixlen)),
        v6=IPv6Interface((int(v6.network_address) + side, v6.prefixlen)),
        link_local=link_local_address(mac),
    )


def link_routes(there: Port, plan: AddressPlan, inside: Sequence[Route]) -> Iterator[Route]:
    """Routes over a link to everything that is reached through the router of its end `there`.

    `inside` are that router's routes to LANs behind its own.
    """
    for prefix in _prefixes(there.node, plan, inside):
        via = there.v4.ip if there.v4 is not None and isinstance(prefix, IPv4Network) else there.link_local
        yield Route(prefix, via)


def link_fallbacks(there: Port, plan: AddressPlan, inside: Sequence[Route]) -> Iterator[Route]:
    """What takes the place of `link_routes` while the link is broken: nothing goes another way."""
    for prefix in _prefixes(there.node, plan, inside):
        yield Route(prefix, None, is_blackhole=True)


def _prefixes(router: str, plan: AddressPlan, inside: Sequence[Route]) -> Iterator[IPv4Network | IPv6Network]:
    lan = plan.lans[router]
    yield from (own for own in (lan.v4, lan.v6) if own is not None)
    yield from (route.destination for route in inside)
