"""`link-down`, `link-up`, `set-default-route`, `set-link-condition`, `set-downlink` and `set-uplink`."""

from __future__ import annotations

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.steps.draft import Built, Table, is_dynamic
from patchbay_runner.model.links import Direction
from patchbay_runner.model.steps import LinkDown, LinkUp, SetDefaultRoute, SetDownlink, SetLinkCondition, SetUplink


def build_link_down(table: Table, report: Report) -> Built | None:
    """A `link-down` step."""
    if not {"device", "interface"} <= table.values.keys():
        return None
    return Built(LinkDown(**table.base(), **table.take("device", "interface")), uses=tuple(table.uses_in("device")))


def build_link_up(table: Table, report: Report) -> Built | None:
    """A `link-up` step."""
    if not {"device", "interface"} <= table.values.keys():
        return None
    return Built(LinkUp(**table.base(), **table.take("device", "interface")), uses=tuple(table.uses_in("device")))


def build_set_default_route(table: Table, report: Report) -> Built | None:
    """A `set-default-route` step."""
    if not {"device", "to"} <= table.values.keys():
        return None
    return Built(SetDefaultRoute(**table.base(), **table.take("device", "to")), uses=tuple(table.uses_in("device")))


def build_set_link_condition(table: Table, report: Report) -> Built | None:
    """A `set-link-condition` step; the device's first interface is filled in once the device is known."""
    if "device" not in table.values:
        return None
    if not table.has("interface") and is_dynamic(table.get("device")):
        report.error(table.node, 'the step needs "interface", since its device is known only when it runs')
    condition = table.get("condition")
    # Who clears a link without saying which direction means all of it.
    usual: Direction = "both" if condition is None else "up"
    step = SetLinkCondition(
        **table.base(),
        device=table.get("device"),
        interface=table.get("interface", ""),
        condition=condition,
        direction=table.get("direction", usual),
    )
    return Built(step, uses=tuple(table.uses_in("device")))


def build_set_downlink(table: Table, report: Report) -> Built | None:
    """A `set-downlink` step."""
    return _of_router(SetDownlink, table)


def build_set_uplink(table: Table, report: Report) -> Built | None:
    """A `set-uplink` step."""
    return _of_router(SetUplink, table)


def _of_router(kind: type[SetDownlink | SetUplink], table: Table) -> Built | None:
    if "router" not in table.values:
        return None
    return Built(kind(**table.base(), router=table.get("router"), condition=table.get("condition")))
