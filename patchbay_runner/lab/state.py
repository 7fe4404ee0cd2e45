"""A lab's state as `state.json` and the agent's clients see it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from patchbay_runner.lab.addressing import IX, LAN_BRIDGE, AddressPlan, Port
from patchbay_runner.lab.region_links import RegionCable
from patchbay_runner.lab.regions import region_router
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.interpolation import ip_variables
from patchbay_runner.model.links import LinkCondition, compact
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.topology import Device, NatV6, Router, Topology

# A link's name to what its upload and download are asked to be.
Conditions = Callable[[str], tuple[LinkCondition | None, LinkCondition | None]]


def ix_state(plan: AddressPlan) -> dict[str, Any]:
    gateway = plan.lans[IX].gateway
    return {"bridge": gateway.interface, **_address_fields(gateway)}


def router_state(router: Router, region: str | None, plan: AddressPlan, conditions: Conditions) -> dict[str, Any]:
    """`region` is the one that it is in, by itself or by the routers that it is behind."""
    lan, wan = plan.lans[router.name], None if router.is_isolated else plan.wan(router)
    return {
        "upstream": router.upstream,
        "region": region,
        **nat_fields(router.nat),
        "nat_v6": router.nat_v6.value,
        **firewall_fields(router.firewall),
        "ip_support": router.ip_support.value,
        "mtu": router.mtu,
        "uplink": {"interface": wan.interface, **_address_fields(wan)} if wan is not None else None,
        "downstream": {
            "interface": lan.gateway.interface,
            "cidr": str(lan.v4) if lan.v4 else None,
            "cidr_v6": str(lan.v6) if lan.v6 else None,
            "mapped_cidr_v6": _mapped(router, plan),
            **_address_fields(lan.gateway),
        },
        "uplink_condition": spelled(conditions(f"{router.name}.{wan.interface}")[0]) if wan is not None else None,
        "downlink_condition": spelled(conditions(f"{router.name}.{LAN_BRIDGE}")[1]),
        "devices": list(dict.fromkeys(member.node for member in lan.members)),
    }


def nat_fields(nat: Nat) -> dict[str, Any]:
    """How a NAT is called, and what it does."""
    return {"nat": nat.mode, "nat_table": nat.config and nat.config.table}


def firewall_fields(firewall: Firewall) -> dict[str, Any]:
    """How a firewall is called, and what it does."""
    return {
        "firewall": firewall.mode,
        "firewall_table": None if firewall.config.is_open else firewall.config.table,
    }


def region_state(region: str, plan: AddressPlan) -> dict[str, Any]:
    """A region by its router, its own LAN and the routers that are on it."""
    lan = plan.lans[region_router(region)]
    return {
        "router": lan.owner,
        "cidr": str(lan.v4) if lan.v4 else None,
        "cidr_v6": str(lan.v6) if lan.v6 else None,
        "routers": [member.node for member in lan.members],
    }


def region_link_state(cable: RegionCable, *, is_broken: bool) -> dict[str, Any]:
    """A link between regions, and the condition of each direction; None where there is none."""
    conditions = {"a_to_b": cable.link.a_to_b, "b_to_a": cable.link.b_to_a}
    asked = {key: spelled(each) for key, each in conditions.items()}
    return {**link_names(cable), **asked, "broken": is_broken}


def link_names(cable: RegionCable) -> dict[str, str]:
    """The regions of a link, and their routers."""
    return {"a": cable.link.a, "b": cable.link.b, "router_a": cable.near.node, "router_b": cable.far.node}


def _mapped(router: Router, plan: AddressPlan) -> str | None:
    is_mapped = router.nat_v6 is NatV6.NPTV6 and not router.is_isolated and plan.wan(router).v6 is not None
    return str(plan.mapped(router.name, router.name)) if is_mapped else None


def device_state(device: Device, plan: AddressPlan, down: frozenset[str], conditions: Conditions) -> dict[str, Any]:
    return {
        "default_via": device.default_interface,
        "mtu": device.mtu,
        "interfaces": [
            {
                "name": interface.name,
                "router": interface.gateway,
                "up": interface.name not in down,
                **_address_fields(plan.ports[device.name, interface.name]),
                **_condition_fields(*conditions(f"{device.name}.{interface.name}")),
            }
            for interface in device.interfaces
        ],
    }


def _condition_fields(up: LinkCondition | None, down: LinkCondition | None) -> dict[str, Any]:
    return {"condition": spelled(up), "download_condition": spelled(down)}


def spelled(condition: LinkCondition | None) -> dict[str, Any] | None:
    """As in a TOML file."""
    return None if condition is None or condition.is_clear else msgspec.to_builtins(compact(condition))


def address_variables(topology: Topology, plan: AddressPlan) -> dict[str, str]:
    """`NETSIM_IP_<DEVICE>`, `NETSIM_IP_<DEVICE>_<INTERFACE>` and the same with IP6, of the families that are there."""
    found: dict[str, str] = {}
    for device in topology.devices:
        for interface in device.interfaces:
            port = plan.ports[device.name, interface.name]
            _add(found, ip_variables(device.name, interface.name), port)
            if interface.name == device.default_interface:
                _add(found, ip_variables(device.name), port)
    return found


def _add(found: dict[str, str], names: tuple[str, str], port: Port) -> None:
    if port.v4 is not None:
        found[names[0]] = str(port.v4.ip)
    if port.v6 is not None:
        found[names[1]] = str(port.v6.ip)


def _address_fields(port: Port) -> dict[str, str | None]:
    return {
        "ip": str(port.v4.ip) if port.v4 else None,
        "ip_v6": str(port.v6.ip) if port.v6 else None,
        "ll_v6": str(port.link_local) if port.link_local else None,
        "mac": port.mac.hex(":"),
    }
