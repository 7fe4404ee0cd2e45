"""Steps that change interfaces, routers, the links between regions, and names.

Where `replug` and `renew-ip` name no interface it is "" until the device is known; it is the default one then.
"""

from __future__ import annotations

from typing import Any

import msgspec

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import filled_texts
from patchbay_runner.loader.names import check_interface_name
from patchbay_runner.loader.node import Node
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, array_shape
from patchbay_runner.loader.steps.draft import Built, Table, is_dynamic
from patchbay_runner.model.steps import (
    AddInterface,
    BreakRegionLink,
    FlushNat,
    RebootRouter,
    RemoveInterface,
    RenewAddress,
    Replug,
    RestoreRegionLink,
    SetFirewall,
    SetNames,
    SetNat,
    SetNatV6,
    Step,
)
from patchbay_runner.model.topology import REBOOT_S


def build_replug(table: Table, report: Report) -> Built | None:
    """A `replug` step."""
    return _on_device(Replug, table, ("device", "to"), report, interface=table.get("interface", ""))


def build_add_interface(table: Table, report: Report) -> Built | None:
    """An `add-iface` step."""
    if "interface" in table.values:
        check_interface_name(table.at("interface"), table.get("interface"), report)
    return _on_device(AddInterface, table, ("device", "interface", "gateway"), report)


def build_remove_interface(table: Table, report: Report) -> Built | None:
    """A `remove-iface` step."""
    return _on_device(RemoveInterface, table, ("device", "interface"), report)


def build_renew_address(table: Table, report: Report) -> Built | None:
    """A `renew-ip` step."""
    return _on_device(RenewAddress, table, ("device",), report, interface=table.get("interface", ""))


def build_set_nat(table: Table, report: Report) -> Built | None:
    """A `set-nat` step."""
    return _built(SetNat, table, ("router", "nat"))


def build_set_nat_v6(table: Table, report: Report) -> Built | None:
    """A `set-nat-v6` step."""
    return _built(SetNatV6, table, ("router", "nat_v6"))


def build_reboot_router(table: Table, report: Report) -> Built | None:
    """A `reboot-router` step."""
    return _built(RebootRouter, table, ("router",), down_for_s=table.get("down_for", REBOOT_S))


def build_flush_nat(table: Table, report: Report) -> Built | None:
    """A `flush-nat` step."""
    return _built(FlushNat, table, ("router",))


def build_set_firewall(table: Table, report: Report) -> Built | None:
    """A `set-firewall` step."""
    return _built(SetFirewall, table, ("router", "firewall"))


@accepts(array_shape(FILLED_TEXT, 2, 2))
def region_pair(node: Node, report: Report) -> tuple[str, str] | None:
    """The names of two regions."""
    names = filled_texts(node, report)
    if names is None:
        return None
    if len(names) != 2 or names[0] == names[1]:
        report.error(node, "a link joins two regions", 'the names of both, as in ["eu", "us"]')
        return None
    return names[0], names[1]


def build_break_region_link(table: Table, report: Report) -> Built | None:
    """A `break-region-link` step."""
    return _built(BreakRegionLink, table, ("regions",))


def build_restore_region_link(table: Table, report: Report) -> Built | None:
    """A `restore-region-link` step."""
    return _built(RestoreRegionLink, table, ("regions",))


def build_set_names(table: Table, report: Report) -> Built | None:
    """A `set-dns` step."""
    if "device" in table.values:
        built = _on_device(SetNames, table, ("device", "entries"), report)
    else:
        built = _built(SetNames, table, ("entries",))
    return None if built is None else msgspec.structs.replace(built, uses=tuple(table.uses_in("entries")))


def _on_device(kind: type[Step], table: Table, keys: tuple[str, ...], report: Report, **filled: object) -> Built | None:
    if is_dynamic(table.get("device", "")):
        message = "the device of such a step is named, since what it has from there on is checked before anything runs"
        report.error(table.at("device"), message, "the name of a device")
        return None
    return _built(kind, table, keys, **filled)


def _built(kind: type[Step], table: Table, keys: tuple[str, ...], **filled: Any) -> Built | None:
    if not table.values.keys() >= set(keys):
        return None
    return Built(kind(**table.base(), **table.take(*keys), **filled))
