"""The `[lab]` table, and what routers say of their advertisements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, choice, integer, read_table
from patchbay_runner.loader.node import Node, table_of
from patchbay_runner.loader.shapes import described
from patchbay_runner.model.topology import Ipv6Provisioning, LabSettings, Router, RouterAdvertisements

LAB_FIELDS: dict[str, Any] = {
    "ipv6_provisioning": described(
        choice({mode.value: mode for mode in Ipv6Provisioning}),
        "how devices come by their IPv6 addresses and default routes: given by the lab, or learned from "
        "[Router Advertisements](network.md#ipv6-by-router-advertisements)",
        '`"static"`',
    ),
    "ipv6_dad": described(
        boolean,
        "whether devices probe for duplicates before they use an IPv6 address, which takes a second for each "
        "(RFC 4862)",
        "`false`",
    ),
}
# RFC 4861, section 6.2.1, but for the shortest interval, which is 4 s there.
ADVERTISEMENT_FIELDS: dict[str, Any] = {
    "ra_enabled": described(
        boolean, 'whether the router advertises itself, where `ipv6_provisioning` is `"ra"`', "`true`"
    ),
    "ra_interval_secs": described(
        integer(1, 1800), "the longest time between two advertisements to all, in seconds", "30"
    ),
    "ra_lifetime_secs": described(
        integer(0, 9000),
        "for how many seconds an advertisement makes it a default router; 0: it is none, and gives addresses only",
        "1800",
    ),
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
