"""What a step says of the topology and of the binaries: whether it is there."""

from __future__ import annotations

from collections.abc import Collection

from patchbay_runner.loader.diagnostics import Report, unknown
from patchbay_runner.loader.network import Network, explain_variable
from patchbay_runner.loader.node import quote
from patchbay_runner.loader.steps.draft import Draft, Use, is_dynamic

_ON_LINKS = ("link-down", "link-up", "set-default-route", "set-link-condition")


def check_device(draft: Draft, network: Network, report: Report) -> None:
    """Reports a node, or an interface of it, that the topology does not have."""
    device = draft.device
    if not device or is_dynamic(device) or not network.is_certain_of(device):
        return
    node = draft.place("device")
    if not network.has_node(device) and device not in network.counts:
        message, expected = unknown("device", device, network.names())
        if not network.topology.routers:
            expected = "a topology: [[router]] and [device.*] here, or [sim] topology"
        report.error(node, message, expected)
    elif draft.action not in _ON_LINKS:
        return
    elif network.first_of(device) is None:
        kind = "the internet exchange" if device == "ix" else "a router"
        report.error(node, f"{quote(device)} is {kind}", "a device")
    else:
        _check_interface(draft, network, report)


def check_names(draft: Draft, network: Network, binaries: Collection[str], report: Report) -> None:
    """Reports binaries and address variables that are not there."""
    for use in draft.uses:
        if use.kind == "binary" and use.name not in binaries:
            report.error(use.node, *unknown("binary", use.name, binaries))
        elif use.kind == "variable" and network.is_certain_of_variable(use.name):
            _check_variable(use, network, report)


def _check_interface(draft: Draft, network: Network, report: Report) -> None:
    device = network.first_of(draft.device)
    named = draft.node.value.get("to" if draft.action == "set-default-route" else "interface")
    if device is None or named is None or not isinstance(named.value, str):
        return
    names = [interface.name for interface in device.interfaces]
    if named.value not in names:
        report.error(named, *unknown("interface", named.value, names))


def _check_variable(use: Use, network: Network, report: Report) -> None:
    exists = network.variables.get(use.name.upper())
    if exists is None:
        report.error(use.node, *explain_variable(use.name, network))
    elif not exists:
        family = "IPv6" if use.name.upper().startswith("NETSIM_IP6_") else "IPv4"
        report.error(use.node, f"${use.name} is never there: its router carries no {family}")
