"""From one blueprint of a running lab to the next: which requests change what the kernel has. Pure.

Every change of a running lab is a new blueprint. What both have in common is left alone, so that a change disturbs
nothing that it is not about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import msgspec

from patchbay_runner.kernel import netlink
from patchbay_runner.lab import requests
from patchbay_runner.lab.addressing import Port
from patchbay_runner.lab.blueprint import Blueprint, InterfaceBlueprint, NodeBlueprint
from patchbay_runner.lab.provisioning import default_route_sysctl

_T = TypeVar("_T")


class NodeChange(msgspec.Struct, frozen=True):
    """What has to be done in a node: requests in order, nft files, settings.

    Then the interfaces of `forgetting` (their indices) lose the default routes that they learned from advertisements.
    """

    node: str
    requests: tuple[bytes, ...]
    rulesets: tuple[str, ...]
    sysctls: tuple[tuple[str, str], ...]
    forgetting: tuple[int, ...] = ()


def changes(
    old: Blueprint, new: Blueprint, is_down: Callable[[str, str], bool], netns_of: Callable[[str], int]
) -> Iterator[NodeChange]:
    """The changes of the nodes of both, owners of LANs before their members. Links between regions come by others.

    An interface that is down (`is_down(node, interface)`) gets no addresses or routes: those come when it is up.
    """
    for node in new.nodes.values():
        before = old.nodes.get(node.name)
        if before is None or node == before:
            continue
        asked = tuple(_requests(before, node, is_down, netns_of))
        sysctls = tuple(setting for setting in node.sysctls if setting not in before.sysctls)
        starting, forgetting = _default_learners(before, node)
        learning = (
            *(default_route_sysctl(interface.port.interface, True) for interface in starting),
            *(default_route_sysctl(interface.port.interface, False) for interface in forgetting),
        )
        indices = tuple(interface.index for interface in forgetting)
        yield NodeChange(node.name, asked, tuple(_rulesets(before, node)), sysctls + learning, indices)


def _default_learners(
    old: NodeBlueprint, new: NodeBlueprint
) -> tuple[list[InterfaceBlueprint], list[InterfaceBlueprint]]:
    """The interfaces that begin to take default routes from advertisements, and those that are left and cease to.

    A new interface takes none by itself.
    """
    before = {interface.cable: interface.learns_default for interface in old.interfaces}
    starting = [each for each in new.interfaces if each.learns_default and not before.get(each.cable, False)]
    return starting, [each for each in new.interfaces if before.get(each.cable, False) and not each.learns_default]


def _rulesets(old: NodeBlueprint, new: NodeBlueprint) -> Iterator[str]:
    """A table that differs is replaced in one transaction, and what it had learned goes with it."""
    for table in old.rulesets | new.rulesets:
        before, after = old.rulesets.get(table), new.rulesets.get(table)
        if before != after:
            gone = f"add table {table}\ndelete table {table}\n" if before is not None else ""
            yield gone + (after or "")


def _requests(
    old: NodeBlueprint, new: NodeBlueprint, is_down: Callable[[str, str], bool], netns_of: Callable[[str], int]
) -> Iterator[bytes]:
    before = {interface.port.interface: interface for interface in old.interfaces}
    after = {interface.port.interface: interface for interface in new.interfaces}
    kept = {name for name in after.keys() & before.keys() if after[name].cable == before[name].cable}
    for name, interface in before.items():
        if name not in kept:
            yield netlink.delete_link(interface.index)
    # What goes, goes before anything comes: a default route in another place's stead would be refused.
    for name, interface in after.items():
        if name in kept and not is_down(new.name, name):
            yield from _removals(before[name], interface)
    for name, interface in after.items():
        if name not in kept and interface.is_region_link:
            continue
        if name not in kept:
            assert interface.cable is not None
            yield requests.cable_request(interface, netns_of(interface.cable.owner))
        if is_down(new.name, name):
            continue
        if name in kept:
            yield from _additions(before[name], interface)
        else:
            yield from requests.member_requests(interface)


def _removals(old: InterfaceBlueprint, new: InterfaceBlueprint) -> Iterator[bytes]:
    index = new.index
    for route in _missing(old.routes, new.routes):
        yield netlink.delete_route(requests.netlink_route(route, index))
    for neighbour in _missing(old.neighbours, new.neighbours):
        for address in _addresses(new.port, neighbour):
            yield netlink.delete_neighbour(index, address)
    if old.port.v4 != new.port.v4 and old.port.v4 is not None:
        yield netlink.delete_address(index, old.port.v4.packed, old.port.v4.network.prefixlen)
    if old.port.v6 != new.port.v6 and old.port.v6 is not None:
        yield netlink.delete_address(index, old.port.v6.packed, old.port.v6.network.prefixlen)


def _additions(old: InterfaceBlueprint, new: InterfaceBlueprint) -> Iterator[bytes]:
    is_renumbered = (old.port.v4, old.port.v6) != (new.port.v4, new.port.v6)
    if is_renumbered:
        # The kernel forgets the routes and neighbours of an address that goes.
        yield from requests.settled_requests(new)
        return
    neighbours = tuple(_missing(new.neighbours, old.neighbours))
    routes = tuple(_missing(new.routes, old.routes))
    part = msgspec.structs.replace(new, neighbours=neighbours, routes=routes)
    yield from requests.neighbour_requests(part)
    yield from requests.route_requests(part)


def _addresses(port: Port, neighbour: Port) -> Iterator[bytes]:
    if port.v4 is not None and neighbour.v4 is not None:
        yield neighbour.v4.packed
    if port.v6 is not None and neighbour.v6 is not None and neighbour.link_local is not None:
        yield neighbour.v6.packed
        yield neighbour.link_local.packed


def _missing(these: Iterable[_T], those: Iterable[_T]) -> Iterator[_T]:
    known = set(those)
    return (item for item in these if item not in known)
