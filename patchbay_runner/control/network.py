"""The methods that need nothing but an agent: looking at a network, and every change of it.

A change has the name and the fields of its command in `lab/commands.py`; what a TOML file would hold in their place is
read by the loader.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

from patchbay_runner.control import requests
from patchbay_runner.control.wire import bad_request
from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.loader import values
from patchbay_runner.loader.diagnostics import one_of
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import Origin, RegionLink, Topology

Answer = dict[str, Any]
_T = TypeVar("_T")

_TABLES: dict[str, type[Any]] = {"router": list, "device": dict, "region": dict, "dns": dict}
_READERS: dict[str, Callable[[object, Origin], Any]] = {
    "condition": values.condition_of,
    "nat": values.nat_of,
    "nat_v6": values.nat_v6_of,
    "firewall": values.firewall_of,
}
# They are asked for in another form, by methods of their own.
_OTHERWISE = (commands.Extend, commands.SetNames)


def method_name(command: type[commands.Command]) -> str:
    """ "link_down" for LinkDown; V6 is a word of its own."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", command.__name__).lower()


CHANGES: dict[str, type[Any]] = {
    method_name(command): command for command in get_args(commands.Change) if command not in _OTHERWISE
}


def change(command: type[Any], client: LabClient, params: Mapping[str, Any], origin: Origin) -> Answer:
    """Carries out one of `CHANGES`; `params` are its fields as far as they are plain, else as in TOML."""
    fields = {key: _read(_READERS[key], value, origin) if key in _READERS else value for key, value in params.items()}
    client.change(command(**fields))
    return {}


def extend(client: LabClient, tables: Mapping[str, Any], origin: Origin) -> Answer:
    """Adds everything that tables as of a topology file describe. Raises InputError, LabError."""
    for name, table in tables.items():
        if name not in _TABLES:
            raise bad_request(f"extend: there is no table {name!r}; expected {one_of(_TABLES)}")
        if not isinstance(table, _TABLES[name]):
            raise bad_request(f"extend: {name!r} is {'an array' if _TABLES[name] is list else 'an object'}")
    addition = _topology(tables, origin)
    client.change(commands.Extend(addition))
    state = client.state()
    return {
        "routers": {router.name: node_of(state, router.name) for router in addition.routers},
        "devices": {device.name: node_of(state, device.name) for device in addition.devices},
    }


def add_router(client: LabClient, table: Mapping[str, Any], origin: Origin) -> Answer:
    client.change(commands.Extend(_topology({"router": [table]}, origin)))
    return node_of(client.state(), str(table["name"]))


def add_device(client: LabClient, asked: requests.AddDevice, origin: Origin) -> Answer:
    client.change(commands.Extend(_topology({"device": {asked.name: _device_table(asked)}}, origin)))
    return node_of(client.state(), asked.name)


def _device_table(asked: requests.AddDevice) -> dict[str, Any]:
    if (asked.router is None) == (asked.interfaces is None):
        raise bad_request("add_device: a device has either a router or interfaces")
    plugged = asked.interfaces or {"eth0": {"gateway": asked.router, "impair": asked.impair}}
    tables = {name: {"gateway": each} if isinstance(each, str) else each for name, each in plugged.items()}
    return {**tables, "default_via": asked.default_via, "mtu": asked.mtu}


def add_region(client: LabClient, asked: requests.AddRegion, origin: Origin) -> Answer:
    client.change(commands.Extend(_topology({"region": {asked.name: {}}}, origin)))
    return {}


def link_regions(client: LabClient, asked: requests.LinkRegions, origin: Origin) -> Answer:
    there = _read(values.distance_of, asked.condition, origin)
    back = there if asked.back is None else _read(values.distance_of, asked.back, origin)
    client.change(commands.Extend(Topology(region_links=(RegionLink(asked.a, asked.b, there, back),))))
    return {}


def set_names(client: LabClient, asked: requests.SetNames, origin: Origin) -> Answer:
    given = {name: stands_for for name, stands_for in asked.names.items() if stands_for != []}
    gone = (NameRecord(name) for name, stands_for in asked.names.items() if stands_for == [])
    records = (*_topology({"dns": given} if given else {}, origin).names, *gone)
    client.change(commands.SetNames(records, asked.device))
    return {}


def state(client: LabClient, _asked: requests.State, _origin: Origin) -> Answer:
    return client.state()


def node(client: LabClient, asked: requests.Node, _origin: Origin) -> Answer:
    return node_of(client.state(), asked.node)


def node_of(state: Mapping[str, Any], name: str) -> Answer:
    """What a lab's state says of a node, with the addresses in front that others reach it by. Raises LabError."""
    if name in state["devices"]:
        found = state["devices"][name]
        first = next(each for each in found["interfaces"] if each["name"] == found["default_via"])
        kind = "device"
    elif name in state["routers"]:
        found = state["routers"][name]
        first = found["uplink"] or found["downstream"]
        kind = "router"
    elif name == "ix":
        found = first = state["ix"]
        kind = "ix"
    else:
        raise LabError(f"there is no such node; there is {one_of([*state['devices'], *state['routers'], 'ix'])}", name)
    return {"name": name, "kind": kind, "ip": first["ip"], "ip_v6": first["ip_v6"], **found}


def is_read_by_loader(parameter: str) -> bool:
    """Whether a parameter may be anything, for all that its type says."""
    return parameter in _READERS


def _topology(tables: Mapping[str, Any], origin: Origin) -> Topology:
    return _read(values.topology_of, tables, origin)


def _read(reader: Callable[[Any, Origin], _T], value: Any, origin: Origin) -> _T:
    """What the loader makes of a value. Raises InputError, Refusal for a null where no table can have one."""
    try:
        return reader(value, origin)
    except TypeError as error:
        raise bad_request(str(error)) from error
