"""The `[lab]` table, and what routers say of their advertisements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, choice, integer, read_table
from patchbay_runner.loader.node import Node, table_of
from patchbay_runner.model.topology import Ipv6Provisioning, LabSettings, Router, RouterAdvertisements

LAB_FIELDS: dict[str, Any] = {
    "ipv6_provisioning": choice({mode.value: mode for mode in Ipv6Provisioning}),
    "ipv6_dad": boolean,
}
# RFC 4861, section 6.2.1, but for the shortest interval, which is 4 s there.
ADVERTISEMENT_FIELDS: dict[str, Any] = {
    "ra_enabled": boolean,
    "ra_interval_secs": integer(1, 1800),
    "ra_lifetime_secs": integer(0, 9000),
}
_NAMES = {"ra_enabled": "enabled", "ra_interval_secs": "interval_s", "ra_lifetime_secs": "lifetime_s"}


def lab_settings(node: Node | None, report: Report) -> LabSettings:
    """Reads `[lab]`; what cannot be read stays at its default. That it is no table is reported elsewhere."""
    if node is None or not isinstance(node.value, dict):
        return LabSettings()
    return LabSettings(**(read_table(node, LAB_FIELDS, report, "[lab]") or {}))


def advertisements(values: Mapping[str, Any]) -> RouterAdvertisements:
    """What the keys of a router say."""
    return RouterAdvertisements(**{field: values[key] for key, field in _NAMES.items() if key in values})


def check_advertisements(router: Router, node: Node, settings: LabSettings, report: Report) -> None:
    """Warns of keys that have no effect, and of a default route that comes and goes."""
    written = [child for key, child in table_of(node).items() if key in ADVERTISEMENT_FIELDS]
    if not written or not router.ra.enabled:
        return
    if settings.ipv6_provisioning is Ipv6Provisioning.STATIC:
        report.warn(written[0], 'no router advertises anything: [lab] ipv6_provisioning is "static"')
    elif not router.ip_support.v6:
        report.warn(written[0], "the router carries no IPv6, so it advertises nothing")
    elif 0 < router.ra.lifetime_s < router.ra.interval_s:
        message = f"default routes end {router.ra.lifetime_s} s after an advertisement, and the next may take "
        report.warn(written[-1], f"{message}{router.ra.interval_s} s")
