"""A router's `firewall`: a mode's name, or a table of what a custom one lets through."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import array, boolean, integer, is_name_or_table, read_table
from patchbay_runner.loader.node import Node
from patchbay_runner.loader.shapes import accepts, described, names_shape, table_shape
from patchbay_runner.model.firewall import FIREWALLS, Firewall, FirewallConfig, firewall_mode


def firewall(node: Node, report: Report) -> Firewall | None:
    """The firewall that `node` writes."""
    if not is_name_or_table(node, FIREWALLS, "firewall", report):
        return None
    if isinstance(node.value, str):
        return firewall_mode(node.value)
    before = len(report.errors)
    values = read_table(node, FIREWALL_FIELDS, report, "a firewall") or {}
    return Firewall("custom", FirewallConfig(**values)) if len(report.errors) == before else None


_PORTS = array(integer(1, 65535), "ports")
FIREWALL_FIELDS: dict[str, Any] = {
    "block_inbound": described(boolean, "whether what comes from outside, unasked, is dropped", "`false`"),
    "allow_tcp": described(_PORTS, "the TCP ports outside that members may connect to; an empty array: none", "all"),
    "allow_udp": described(_PORTS, "the UDP ports outside that members may send to; an empty array: none", "all"),
}

accepts({"anyOf": [names_shape(FIREWALLS), table_shape(FIREWALL_FIELDS)]})(firewall)
