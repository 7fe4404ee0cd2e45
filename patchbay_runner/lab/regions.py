"""Regions as they are wired: each has a router on the exchange, and the region's routers are behind it. Pure."""

from __future__ import annotations

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.model.regions import declared_regions
from patchbay_runner.model.topology import Router, RouterAdvertisements, Topology


def region_router(region: str) -> str:
    """The node that is a region's router. No other node's name begins so."""
    return f"region_{region}"


def region_routers_of(topology: Topology) -> list[str]:
    """In the order of the regions."""
    return [region_router(region.name) for region in declared_regions(topology.regions)]


def region_of(router: Router, topology: Topology) -> str | None:
    """The region that a router is in: that which it names, or that of the routers that it is behind."""
    while router.region is None and router.upstream is not None:
        router = next(each for each in topology.routers if each.name == router.upstream)
    return router.region


def with_region_routers(topology: Topology) -> Topology:
    """The topology with region routers behind the others, and as the upstream of the routers that are in a region.

    Raises LabError for a region that is not declared.
    """
    region_routers = region_routers_of(topology)
    wired = []
    for router in topology.routers:
        if router.region is not None and region_router(router.region) not in region_routers:
            raise LabError(f"its region {router.region!r} is not declared", router.name)
        if router.region is not None and router.upstream is None:
            wired.append(msgspec.structs.replace(router, upstream=region_router(router.region)))
        else:
            wired.append(router)
    # Only routers stand on their LANs, and routers learn nothing from advertisements.
    silent = RouterAdvertisements(enabled=False)
    wired += [Router(name=name, ra=silent) for name in region_routers]
    return msgspec.structs.replace(topology, routers=tuple(wired))
