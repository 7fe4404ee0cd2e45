"""Nodes that come to a running lab and go from it: the old topology and plan go in, new ones come out. Pure.

As in `replan`, nothing that stays is renumbered, and nothing of what goes is given to anybody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab.addressing import IX
from patchbay_runner.lab.planner import extend_addresses, without_node
from patchbay_runner.lab.regions import region_router
from patchbay_runner.lab.replan import Network
from patchbay_runner.model.regions import MOST_REGION_LINKS, declared_regions, region_links
from patchbay_runner.model.topology import RegionLink, Topology

_replace = msgspec.structs.replace


def extend(network: Network, addition: Topology) -> Network:
    """The network with the regions, links between regions, routers, devices and names of `addition`.

    They may refer to what is there. The settings of the lab stay. Raises LabError.
    """
    old = network.topology
    _check_names(old, addition)
    regions = (*old.regions, *(_replace(region, towards={}) for region in addition.regions))
    topology = _replace(
        old,
        routers=(*old.routers, *addition.routers),
        devices=(*old.devices, *addition.devices),
        regions=regions,
        region_links=(*old.region_links, *_new_links(old, addition, [each.name for each in declared_regions(regions)])),
        names=(*old.names, *addition.names),
    )
    if len(region_links(topology.regions, topology.region_links)) > MOST_REGION_LINKS:
        raise LabError(f"there are more than {MOST_REGION_LINKS} links between regions")
    return Network(topology, extend_addresses(network.plan, topology))


def without_device(network: Network, device: str) -> Network:
    """The network without a device."""
    left = tuple(each for each in network.topology.devices if each.name != device)
    if len(left) == len(network.topology.devices):
        raise LabError("there is no such device", device)
    return Network(_replace(network.topology, devices=left), without_node(network.plan, device))


def without_router(network: Network, router: str) -> Network:
    """The network without a router, which has to have nothing behind it."""
    left = tuple(each for each in network.topology.routers if each.name != router)
    if len(left) == len(network.topology.routers):
        raise LabError("there is no such router", router)
    members = sorted({member.node for member in network.plan.lans[router].members})
    if members:
        raise LabError(f"there is something behind it: {', '.join(members)}", router)
    return Network(_replace(network.topology, routers=left), without_node(network.plan, router))


def _check_names(old: Topology, addition: Topology) -> None:
    taken = {IX, *_node_names(old), *map(region_router, _region_names(old))}
    for name in _node_names(addition):
        _claim(name, taken)
    for region in addition.regions:
        _claim(region_router(region.name), taken)
    for device in addition.devices:
        if not device.interfaces:
            raise LabError("it has no interface", device.name)
        names: set[str] = set()
        for interface in device.interfaces:
            if interface.name in names:
                raise LabError(f"it has two interfaces {interface.name!r}", device.name)
            names.add(interface.name)


def _claim(name: str, taken: set[str]) -> None:
    if name in taken:
        raise LabError("there is a node of this name already", name)
    taken.add(name)


def _new_links(old: Topology, addition: Topology, regions: Sequence[str]) -> Iterator[RegionLink]:
    """Each with the region that is older, by which it is wired, as its `a`."""
    linked = {link.pair for link in region_links(old.regions, old.region_links)}
    for link in (*region_links(addition.regions), *addition.region_links):
        for region in (link.a, link.b):
            if region not in regions:
                raise LabError(f"there is no region {region!r}")
        if link.a == link.b:
            raise LabError(f"the region {link.a!r} cannot be linked to itself")
        if link.pair in linked:
            raise LabError(f"the regions {link.a!r} and {link.b!r} are linked already")
        linked.add(link.pair)
        is_in_order = regions.index(link.a) < regions.index(link.b)
        yield link if is_in_order else RegionLink(link.b, link.a, link.b_to_a, link.a_to_b)


def _node_names(topology: Topology) -> list[str]:
    return [*(router.name for router in topology.routers), *(device.name for device in topology.devices)]


def _region_names(topology: Topology) -> list[str]:
    return [region.name for region in declared_regions(topology.regions)]
