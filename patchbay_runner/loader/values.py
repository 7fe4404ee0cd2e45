"""A program's own values, read as a file's are: the same spellings and messages, the caller's line as the place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeVar

from patchbay_runner.errors import InputError
from patchbay_runner.loader.capture import packet_capture
from patchbay_runner.loader.conditions import condition
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import Converter, choice
from patchbay_runner.loader.firewall import firewall
from patchbay_runner.loader.nat import nat
from patchbay_runner.loader.node import Node, join_key
from patchbay_runner.loader.topology import read_topology
from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.topology import NatV6, Origin, Topology

_T = TypeVar("_T")
_NAT_V6 = choice({kind.value: kind for kind in NatV6})


def topology_of(tables: Mapping[str, object], origin: Origin) -> Topology:
    """The topology that tables such as `router`, `device`, `region`, `lab` and `dns` describe. Raises InputError."""
    report = Report()
    nodes = {key: _node(value, origin, key) for key, value in tables.items()}
    names = [nodes.pop("dns")] if "dns" in nodes else []
    written = read_topology(nodes, report, names)
    if report.errors:
        raise InputError(sorted(set(report.errors)))
    return written.topology()


def condition_of(value: object, origin: Origin) -> LinkCondition | None:
    """A link condition, None for none. Raises InputError."""
    if value is None or isinstance(value, LinkCondition):
        return value
    return _read(condition, value, "condition", origin)


def distance_of(value: object, origin: Origin) -> LinkCondition:
    """The condition of a link between regions; a number is its latency in milliseconds. Raises InputError."""
    asked = {"latency_ms": value} if isinstance(value, int | float) else value
    return condition_of(asked, origin) or LinkCondition()


def nat_of(value: object, origin: Origin) -> Nat:
    """A mode of NAT. Raises InputError."""
    return value if isinstance(value, Nat) else _read(nat, value, "nat", origin)


def nat_v6_of(value: object, origin: Origin) -> NatV6:
    """What is done to IPv6 addresses. Raises InputError."""
    return _read(_NAT_V6, value, "nat_v6", origin)


def capture_of(value: object, origin: Origin) -> PacketCapture | None:
    """What is kept of packets; None for nothing. Raises InputError."""
    return None if value is False else _read(packet_capture, value, "capture", origin)


def firewall_of(value: object, origin: Origin) -> Firewall:
    """A firewall. Raises InputError."""
    return value if isinstance(value, Firewall) else _read(firewall, value, "firewall", origin)


def _read(convert: Converter[_T], value: object, key: str, origin: Origin) -> _T:
    report = Report()
    converted = convert(_node(value, origin, key), report)
    if report.errors or converted is None:
        raise InputError(sorted(set(report.errors)))
    return converted


def _node(value: object, origin: Origin, key: str) -> Node:
    return Node(_plain(value, origin, key), origin.file, origin.line, key)


def _plain(value: object, origin: Origin, key: str) -> Any:
    match value:
        case str() | bool() | int() | float():
            return value
        case Enum():
            return value.value
        case IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            return str(value)
        case Mapping():
            entries = ((str(name), each) for name, each in value.items() if each is not None)
            return {name: _node(each, origin, join_key(key, name)) for name, each in entries}
        case list() | tuple() | set() | frozenset():
            return tuple(_node(each, origin, key) for each in value)
    raise TypeError(f"{key}: {type(value).__name__} is nothing that a network is described with")
