"""Our own rtnetlink: small pure encoders, and a socket that sends their requests in bulk.

`links` and `addresses` build requests as bytes, `socket` carries them out, `dumps` reads the kernel's tables back.
"""

from patchbay_runner.kernel.netlink.addresses import (
    ANY_V4,
    ANY_V6,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    NeighbourState,
    Route,
    RouteKind,
    add_address,
    add_route,
    delete_address,
    delete_bridge_entry,
    delete_neighbour,
    delete_route,
    replace_route,
    set_bridge_entry,
    set_neighbour,
)
from patchbay_runner.kernel.netlink.carriers import CARRIER_PAUSE_S, await_carrier, await_turn, carrier_pauses
from patchbay_runner.kernel.netlink.describe import describe
from patchbay_runner.kernel.netlink.dumps import (
    Link,
    LinkAddress,
    LinkCounters,
    Neighbour,
    dump_addresses,
    dump_links,
    dump_neighbours,
    dump_routes,
    get_link,
)
from patchbay_runner.kernel.netlink.links import (
    LOOPBACK_IFINDEX,
    LinkEnd,
    bridge,
    delete_link,
    no_generated_addresses,
    set_link,
    set_up,
    veth,
)
from patchbay_runner.kernel.netlink.resolution import resolve_neighbours
from patchbay_runner.kernel.netlink.socket import NetlinkSocket

__all__ = [
    "ANY_V4",
    "ANY_V6",
    "CARRIER_PAUSE_S",
    "IFA_F_DADFAILED",
    "IFA_F_TENTATIVE",
    "LOOPBACK_IFINDEX",
    "Link",
    "LinkAddress",
    "LinkCounters",
    "LinkEnd",
    "Neighbour",
    "NeighbourState",
    "NetlinkSocket",
    "Route",
    "RouteKind",
    "add_address",
    "add_route",
    "await_carrier",
    "await_turn",
    "bridge",
    "carrier_pauses",
    "delete_address",
    "delete_bridge_entry",
    "delete_link",
    "delete_neighbour",
    "delete_route",
    "describe",
    "dump_addresses",
    "dump_links",
    "dump_neighbours",
    "dump_routes",
    "get_link",
    "no_generated_addresses",
    "replace_route",
    "resolve_neighbours",
    "set_bridge_entry",
    "set_link",
    "set_neighbour",
    "set_up",
    "veth",
]
