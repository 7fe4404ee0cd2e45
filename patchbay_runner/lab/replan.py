"""Changes of a running lab's topology and address plan: the old ones go in, new ones come out. Pure.

Nothing that stays is renumbered, and no number is given twice, so that an address that was in use never comes back as
somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.lab.addressing import (
    FIRST_DEVICE_INDEX,
    AddressPlan,
    Attachment,
    mac_address,
    make_port,
)
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import Device, Interface, IpSupport, NatV6, Router, Topology


class Network(msgspec.Struct, frozen=True):
    """What a lab is at a time."""

    topology: Topology
    plan: AddressPlan


def replug(network: Network, device: str, interface: str, router: str) -> Network:
    """Moves an interface to another router's LAN: the same hardware address, new addresses."""
    network = _with_device(
        network, device, lambda found: _with_interface(found, interface, lambda old: _replace(old, gateway=router))
    )
    return _attach(_detach(network, device, interface), device, interface, router)


def renew_address(network: Network, device: str, interface: str) -> Network:
    """Gives an interface new addresses on its LAN."""
    router = network.plan.ports[device, interface].lan
    return _attach(_detach(network, device, interface), device, interface, router)


def add_interface(network: Network, device: str, interface: Interface) -> Network:
    """Adds an interface, on its gateway's LAN, behind the others."""
    if (device, interface.name) in network.plan.ports:
        raise LabError(f"it has an interface {interface.name!r} already", device)
    network = _with_device(network, device, lambda found: _replace(found, interfaces=(*found.interfaces, interface)))
    return _attach(network, device, interface.name, interface.gateway)


def remove_interface(network: Network, device: str, interface: str) -> Network:
    """Removes an interface; a device keeps at least one, and its default route moves to the first that is left."""

    def without(found: Device) -> Device:
        left = tuple(each for each in found.interfaces if each.name != interface)
        if not left:
            raise LabError(f"{interface} is its only interface", device)
        via = None if found.default_via == interface else found.default_via
        return _replace(found, interfaces=left, default_via=via)

    return _detach(_with_device(network, device, without), device, interface)


def set_default_interface(network: Network, device: str, interface: str) -> Network:
    """Moves a device's default routes."""
    return _with_device(network, device, lambda found: _replace(found, default_via=interface))


def change_router(network: Network, router: str, change: Callable[[Router], Router]) -> Network:
    """Changes what a router does; its LAN and its addresses stay."""
    if all(each.name != router for each in network.topology.routers):
        raise LabError("there is no such router", router)
    routers = tuple(change(each) if each.name == router else each for each in network.topology.routers)
    return _replace(network, topology=_replace(network.topology, routers=routers))


def change_names(
    network: Network, device: str | None, change: Callable[[tuple[NameRecord, ...]], tuple[NameRecord, ...]]
) -> Network:
    """Changes the names of everybody, or those that one device alone has."""
    if device is not None:
        return _with_device(network, device, lambda found: _replace(found, names=change(found.names)))
    return _replace(network, topology=_replace(network.topology, names=change(network.topology.names)))


def set_nat_v6(network: Network, router: str, mode: NatV6) -> Network:
    """Changes how a router translates IPv6. Its LAN stays; the uplink has IPv4 for as long as a NAT64 needs it."""
    network = change_router(network, router, lambda old: _replace(old, nat_v6=mode))
    plan = network.plan
    found = next(each for each in network.topology.routers if each.name == router)
    if found.is_isolated:
        return network
    old = plan.wan(found)
    lan = plan.lans[old.lan]
    port = make_port(
        Attachment(old.node, old.interface, old.index),
        old.lan,
        prefixes=(lan.v4, lan.v6),
        support=found.uplink_support,
        number=old.number,
        mac=old.mac,
        slot=old.slot,
    )
    lan = _replace(lan, members=tuple(port if member is old else member for member in lan.members))
    ports = plan.ports | {(old.node, old.interface): port}
    return _replace(network, plan=_replace(plan, lans=plan.lans | {lan.owner: lan}, ports=ports))


def _with_device(network: Network, device: str, change: Callable[[Device], Device]) -> Network:
    if all(each.name != device for each in network.topology.devices):
        raise LabError("there is no such device", device)
    devices = tuple(change(each) if each.name == device else each for each in network.topology.devices)
    return _replace(network, topology=_replace(network.topology, devices=devices))


def _with_interface(device: Device, interface: str, change: Callable[[Interface], Interface]) -> Device:
    if all(each.name != interface for each in device.interfaces):
        raise LabError(f"it has no interface {interface!r}", device.name)
    interfaces = tuple(change(each) if each.name == interface else each for each in device.interfaces)
    return _replace(device, interfaces=interfaces)


def _detach(network: Network, device: str, interface: str) -> Network:
    """Takes the port off its LAN, and remembers it for `_attach` in the plan's ports."""
    plan = network.plan
    port = plan.ports.get((device, interface))
    if port is None:
        raise LabError(f"it has no interface {interface!r}", device)
    lan = plan.lans[port.lan]
    lan = _replace(lan, members=tuple(member for member in lan.members if member is not port))
    ports = plan.ports
    if not _is_asked_for(network.topology, device, interface):
        ports = {key: each for key, each in ports.items() if each is not port}
    return _replace(network, plan=_replace(plan, lans=plan.lans | {lan.owner: lan}, ports=ports))


def _attach(network: Network, device: str, interface: str, router: str) -> Network:
    plan = network.plan
    if router not in plan.lans:
        raise LabError(f"the gateway {router!r} of {interface} is not a router", device)
    lan, old = plan.lans[router], plan.ports.get((device, interface))
    number = plan.next_numbers[router]
    port = make_port(
        Attachment(device, interface, _free_index(plan, device) if old is None else old.index),
        router,
        prefixes=(lan.v4, lan.v6),
        support=IpSupport.DUAL_STACK,
        number=number,
        mac=mac_address(plan.next_mac) if old is None else old.mac,
        slot=old.slot if old is not None and old.lan == router else None,
        is_slaac=lan.is_slaac,
    )
    return _replace(
        network,
        plan=_replace(
            plan,
            lans=plan.lans | {router: _replace(lan, members=(*lan.members, port))},
            ports=plan.ports | {(device, interface): port},
            next_numbers=plan.next_numbers | {router: number + 1},
            next_mac=plan.next_mac + (old is None),
        ),
    )


def _free_index(plan: AddressPlan, device: str) -> int:
    taken = (port.index for port in plan.ports.values() if port.node == device)
    return max(taken, default=FIRST_DEVICE_INDEX - 1) + 1


def _is_asked_for(topology: Topology, device: str, interface: str) -> bool:
    return any(
        each.name == interface for found in topology.devices if found.name == device for each in found.interfaces
    )


_replace = msgspec.structs.replace
