"""A router's `firewall`: a mode's name, or a table of what a custom one lets through."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.fields import array, boolean, integer, read_table
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.model.firewall import FIREWALLS, Firewall, FirewallConfig, firewall_mode


def firewall(node: Node, report: Report) -> Firewall | None:
    """The firewall that `node` writes."""
    if isinstance(node.value, str):
        if node.value in FIREWALLS:
            return firewall_mode(node.value)
        hint = did_you_mean(node.value, FIREWALLS)
        report.error(node, f"unknown firewall {quote(node.value)}{hint}", f"{one_of(FIREWALLS)}, or a table")
        return None
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "the name of a firewall or a table")
        return None
    before = len(report.errors)
    values = read_table(node, _KEYS, report, "a firewall") or {}
    return Firewall("custom", FirewallConfig(**values)) if len(report.errors) == before else None


_PORTS = array(integer(1, 65535), "ports")
_KEYS: dict[str, Any] = {"block_inbound": boolean, "allow_tcp": _PORTS, "allow_udp": _PORTS}
