"""The network after a step: the interfaces that devices have, and the addresses that are there, from that step on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from patchbay_runner.loader import dns
from patchbay_runner.loader.network import Network, address_variables
from patchbay_runner.loader.steps.draft import Draft, is_dynamic
from patchbay_runner.model.names import changed_names
from patchbay_runner.model.steps import (
    AddInterface,
    BreakRegionLink,
    RemoveInterface,
    RenewAddress,
    Replug,
    SetDefaultRoute,
    SetNames,
    SetNatV6,
)
from patchbay_runner.model.topology import Device, Interface

REGION_ACTIONS = ("break-region-link", "restore-region-link")

_replace = msgspec.structs.replace


def is_changing(draft: Draft) -> bool:
    """Whether later steps are checked against another network than this one."""
    return draft.action in _CHANGES or draft.action in (*REGION_ACTIONS, "set-dns", "set-nat-v6")


def network_after(draft: Draft, network: Network) -> Network:
    """What a step that is changing makes of a network. What it asks for wrongly, and was told, changes nothing."""
    if draft.action in REGION_ACTIONS:
        return _with_region_link(draft.step, network)
    if draft.action == "set-dns":
        return _with_names(draft, network)
    if draft.action == "set-nat-v6":
        return _with_translation(draft.step, network)
    if draft.step is None:
        doubtful = [draft.device] if draft.device else list(network.devices)
        return _replace(network, vague=network.vague.union(doubtful))
    if is_dynamic(draft.device):
        return _with_unknown_default(network)
    devices, variables, removed = dict(network.devices), dict(network.variables), dict(network.removed)
    for old in network.devices_of(draft.device):
        new = _CHANGES[draft.action](old, draft.step)
        devices[old.name] = new
        for name in address_variables(old, network.routers):
            variables.pop(name, None)
        variables |= address_variables(new, network.routers)
        kept = {interface.name for interface in new.interfaces}
        removed |= {(old.name, each.name): draft.step.origin for each in old.interfaces if each.name not in kept}
    numbers = Counter(network.numbers) + addresses_taken(draft, network)
    return _replace(network, devices=devices, variables=variables, removed=removed, numbers=numbers)


def addresses_taken(draft: Draft, network: Network) -> Counter[str]:
    """How many new addresses a step asks of the LAN of each router. No address is given twice."""
    step = draft.step
    taken: Counter[str] = Counter()
    for device in network.devices_of(draft.device):
        if isinstance(step, Replug):
            taken[step.to] += 1
        elif isinstance(step, AddInterface):
            taken[step.gateway] += 1
        elif isinstance(step, RenewAddress):
            renewed = step.interface or device.default_interface
            taken.update(each.gateway for each in device.interfaces if each.name == renewed)
    return taken


def _with_translation(step: Any, network: Network) -> Network:
    """What a router translates decides which families its uplink has."""
    if not isinstance(step, SetNatV6) or step.router not in network.routers:
        return network
    changed = _replace(network.routers[step.router], nat_v6=step.nat_v6)
    return _replace(network, routers={**network.routers, step.router: changed})


def _with_region_link(step: Any, network: Network) -> Network:
    if step is None:
        return _replace(network, is_broken_known=False)
    pair = frozenset(step.regions)
    if isinstance(step, BreakRegionLink):
        return _replace(network, broken={pair: step.origin} | network.broken)
    return _replace(network, broken={other: origin for other, origin in network.broken.items() if other != pair})


def _with_names(draft: Draft, network: Network) -> Network:
    """After names were set; whatever is filled in later is taken for an address."""
    step = draft.step
    if not isinstance(step, SetNames):
        return _replace(network, are_names_known=False)
    records = dns.step_records(step)
    if not step.device:
        return _replace(network, given_names=changed_names(network.given_names, records))
    found = {device.name: device for device in network.devices_of(step.device)}
    changed = {name: _replace(old, names=changed_names(old.names, records)) for name, old in found.items()}
    return _replace(network, devices=network.devices | changed)


def _with_unknown_default(network: Network) -> Network:
    """After a default route moved on a device that is known only when the step runs."""
    variables = dict(network.variables)
    for device in network.devices.values():
        for interface in device.interfaces:
            moved = address_variables(_replace(device, default_via=interface.name), network.routers)
            variables |= {name: exists or variables.get(name, False) for name, exists in moved.items()}
    return _replace(network, variables=variables, is_default_known=False)


def _replug(device: Device, step: Replug) -> Device:
    moved = step.interface or device.default_interface
    interfaces = [_replace(each, gateway=step.to) if each.name == moved else each for each in device.interfaces]
    return _replace(device, interfaces=tuple(interfaces))


def _add(device: Device, step: AddInterface) -> Device:
    if device.has_interface(step.interface):
        return device
    added = Interface(name=step.interface, gateway=step.gateway, origin=step.origin)
    return _replace(device, interfaces=(*device.interfaces, added))


def _remove(device: Device, step: RemoveInterface) -> Device:
    left = tuple(each for each in device.interfaces if each.name != step.interface)
    if not left:
        return device
    return _replace(
        device, interfaces=left, default_via=None if device.default_via == step.interface else device.default_via
    )


def _move_default_route(device: Device, step: SetDefaultRoute) -> Device:
    return _replace(device, default_via=step.to) if device.has_interface(step.to) else device


_CHANGES: Mapping[str, Callable[[Device, Any], Device]] = {
    "replug": _replug,
    "add-iface": _add,
    "remove-iface": _remove,
    "renew-ip": lambda device, step: device,
    "set-default-route": _move_default_route,
}
