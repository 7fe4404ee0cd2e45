"""A topology that was checked, and what the steps' checks ask of it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import msgspec

from patchbay_runner.loader import dns
from patchbay_runner.loader.node import quote
from patchbay_runner.model.interpolation import ip_variables
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import Device, IpSupport, Origin, Router, Topology


class Network(msgspec.Struct, frozen=True):
    """`counts` maps the base name of a counted device to its number; `variables` says which addresses exist.

    `numbers` says how many addresses the LAN of each router has given to members. `is_open` and `vague` are those of
    the tables that it was read from. Steps change `devices`, `variables`, `numbers`, `given_names`, and `broken`, the
    links between regions by the step that broke them; `removed` says which step took an interface away, and `topology`
    is what the sim begins with.
    """

    topology: Topology = Topology()
    counts: dict[str, int] = {}
    routers: dict[str, Router] = {}
    devices: dict[str, Device] = {}
    variables: dict[str, bool] = {}
    is_open: bool = False
    vague: frozenset[str] = frozenset()
    numbers: Mapping[str, int] = {}
    removed: dict[tuple[str, str], Origin] = {}
    is_default_known: bool = True
    broken: dict[frozenset[str], Origin] = {}
    is_broken_known: bool = True
    given_names: tuple[NameRecord, ...] = ()
    are_names_known: bool = True

    def has_node(self, name: str) -> bool:
        return name in self.devices or name in self.routers or name == "ix" or name in self.region_routers()

    def region_routers(self) -> list[str]:
        """The nodes between a region's routers and the rest of the world."""
        return [f"region_{region.name}" for region in self.topology.regions]

    def is_certain_of(self, name: str) -> bool:
        """Whether the topology was read well enough to say that `name` is not there, or has no such interface."""
        return not self.is_open and not any(name == vague or name.startswith(f"{vague}-") for vague in self.vague)

    def is_certain_of_variable(self, variable: str) -> bool:
        """The same of an address variable."""
        tail = variable.upper().partition("_IP6_" if "_IP6_" in variable.upper() else "_IP_")[2]
        prefixes = [ip_variables(vague)[0].removeprefix("NETSIM_IP_") for vague in self.vague]
        return not self.is_open and not any(tail.startswith(prefix) for prefix in prefixes)

    def names(self) -> list[str]:
        """What a step's `device` may say."""
        return [*self.device_names(), *self.routers, *self.region_routers(), "ix"]

    def device_names(self) -> list[str]:
        """What it may say where nothing but a device will do."""
        return [*self.devices, *self.counts]

    def known_names(self) -> list[NameRecord]:
        """The names that nodes have from the start; what they stand for is not said."""
        devices = ((device.name, (each.name for each in device.interfaces)) for device in self.devices.values())
        return dns.node_names([*((router, ()) for router in (*self.routers, *self.region_routers(), "ix")), *devices])

    def first_of(self, name: str) -> Device | None:
        """The device, or the first instance of a counted one."""
        return self.devices.get(f"{name}-0" if name in self.counts else name)

    def devices_of(self, name: str) -> list[Device]:
        """The device, or all instances of a counted one. Those without an interface, which are wrong, are left out."""
        names = [f"{name}-{index}" for index in range(self.counts[name])] if name in self.counts else [name]
        return [self.devices[each] for each in names if each in self.devices and self.devices[each].interfaces]


def address_variables(device: Device, routers: Mapping[str, Router]) -> dict[str, bool]:
    """The address variables of a device, and whether their addresses exist."""
    gateways = {interface.name: interface.gateway for interface in device.interfaces}
    default = gateways.get(device.default_interface, device.interfaces[0].gateway)
    exist: dict[str, bool] = {}
    for interface, gateway in [(None, default), *gateways.items()]:
        router = routers.get(gateway)
        support = router.ip_support if router is not None else IpSupport.DUAL_STACK
        exist |= zip(ip_variables(device.name, interface), (support.v4, support.v6), strict=True)
    return exist


def explain_variable(name: str, network: Network) -> tuple[str, str]:
    """The message and expectation for a variable that is not there."""
    for base, count in network.counts.items():
        first = network.devices.get(f"{base}-0")
        interfaces = [None, *(interface.name for interface in first.interfaces)] if first else [None]
        for interface in interfaces:
            for version, bare in enumerate(ip_variables(base, interface)):
                if bare == name.upper():
                    instances_of = [f"${ip_variables(f'{base}-{index}', interface)[version]}" for index in range(count)]
                    shown = ", ".join([*instances_of[:3], *(["..."] if count > 3 else [])])
                    return f"${name} is ambiguous: the device {quote(base)} is counted", f"one of {shown}"
    return f"unknown variable ${name}", _known_variables(name.upper(), network)


def _known_variables(name: str, network: Network) -> str:
    """The variables of the same family, those with a similar name of a device first."""
    prefix = "NETSIM_IP6_" if name.startswith("NETSIM_IP6_") else "NETSIM_IP_"
    names = [known.removeprefix(prefix) for known in network.variables if known.startswith(prefix)]
    near = difflib.get_close_matches(name.removeprefix(prefix), names, n=3)
    shown = [f"${prefix}{known}" for known in near or names[:6]]
    return f"one of {', '.join(shown)}" if shown else "the address of a device; there is none"
