"""Requests that say how an interface resolves neighbours, and how long it keeps them (linux/neighbour.h, NDTA_*)."""

from __future__ import annotations

import struct

from patchbay_runner.kernel.netlink import wire

_FAMILY = struct.Struct("=Bxxx")
_MILLISECONDS = struct.Struct("=Q")
NDTA_NAME, NDTA_PARMS = 1, 6
NDTPA_IFINDEX = 1
_BASE_REACHABLE_TIME, _UNICAST_PROBES, _QUEUE_BYTES = 4, 10, 16
_TABLES = {wire.AF_INET: "arp_cache", wire.AF_INET6: "ndisc_cache"}


def resolve_neighbours(ifindex: int, family: int, *, reachable_ms: int, unicast_probes: int, queue_bytes: int) -> bytes:
    """Set how the interface resolves neighbours of `family` (wire.AF_INET, wire.AF_INET6).

    An answer is good for half to one and a half times `reachable_ms`. One that is used for longer is confirmed by
    `unicast_probes` packets; after none it is asked for anew. What waits for an answer may fill `queue_bytes`.
    """
    settings = wire.nested(
        NDTA_PARMS,
        wire.u32(NDTPA_IFINDEX, ifindex),
        wire.attribute(_BASE_REACHABLE_TIME, _MILLISECONDS.pack(reachable_ms)),
        wire.u32(_UNICAST_PROBES, unicast_probes),
        wire.u32(_QUEUE_BYTES, queue_bytes),
    )
    return wire.request(
        wire.RTM_SETNEIGHTBL, 0, _FAMILY.pack(family) + wire.text(NDTA_NAME, _TABLES[family]) + settings
    )
