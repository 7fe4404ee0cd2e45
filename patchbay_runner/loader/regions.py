"""Regions: from tables to records, and what is checked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from patchbay_runner.loader.conditions import condition
from patchbay_runner.loader.diagnostics import Report, did_you_mean, unknown
from patchbay_runner.loader.fields import duration, number, read_table
from patchbay_runner.loader.names import check_node_name
from patchbay_runner.loader.node import Node, describe, quote, table_of
from patchbay_runner.loader.shapes import accepts, described, map_shape, shape_of
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.regions import MOST_REGION_LINKS, declared_regions, region_links
from patchbay_runner.model.topology import Region, Router


class Declared(msgspec.Struct, frozen=True):
    """A region and where it is written: its table, or the latency that alone mentions it."""

    region: Region
    node: Node
    is_mentioned: bool = False


def read_regions(node: Node | None, report: Report) -> list[Declared]:
    """`[region.*]`, and the regions that only their latencies mention."""
    written = [Declared(_read_region(name, table, report), table) for name, table in table_of(node).items()]
    places = {other: place for each in written for other, place in _entries(each.node).items()}
    for region in declared_regions(each.region for each in written)[len(written) :]:
        place = places[region.name]
        check_node_name(place, region.name, "region", report)
        written.append(Declared(Region(name=region.name, origin=place.origin), place, is_mentioned=True))
    return written


def check_regions(declared: Sequence[Declared], routers: Mapping[str, Router], report: Report) -> None:
    """Links that lead nowhere, and more of them than there are addresses for."""
    occupied = {router.region for router in routers.values() if router.region is not None}
    for each in declared:
        name = each.region.name
        if name in each.region.towards:
            report.error(
                _entries(each.node)[name], f"the region {quote(name)} has no latency to itself", "another region"
            )
        if each.is_mentioned and name not in occupied:
            hint = did_you_mean(name, [other.region.name for other in declared if other is not each])
            report.warn(each.node, f"no router is in the region {quote(name)}{hint}")
    surplus = region_links(each.region for each in declared)[MOST_REGION_LINKS:]
    if surplus:
        node = next(
            _entries(each.node)[other]
            for each in declared
            for other in each.region.towards
            if {each.region.name, other} == surplus[0].pair
        )
        message = f"the link between {quote(surplus[0].a)} and {quote(surplus[0].b)} is one too many"
        report.error(node, message, f"at most {MOST_REGION_LINKS} links between regions")


def check_region_of(
    router: Router, node: Node, routers: Mapping[str, Router], declared: Sequence[Declared], report: Report
) -> None:
    """A router's region is there, and is that of the routers that it is behind."""
    if router.region is None:
        return
    if router.region not in (names := [each.region.name for each in declared]):
        report.error(node.value["region"], *unknown("region", router.region, names))
        return
    outermost, seen = router, {router.name}
    while outermost.upstream is not None and outermost.upstream in routers and outermost.upstream not in seen:
        outermost = routers[outermost.upstream]
        seen.add(outermost.name)
    if outermost.region != router.region and outermost.upstream is None:
        where = "no region" if outermost.region is None else f"the region {quote(outermost.region)}"
        message = f"the router is behind {quote(outermost.name)}, which is in {where}"
        report.error(node.value["region"], message, f"no key, or the same region for {quote(outermost.name)}")


def _read_region(name: str, node: Node, report: Report) -> Region:
    check_node_name(node, name, "region", report)
    values = read_table(node, REGION_FIELDS, report, "a region") or {}
    if len(values) == 2:
        report.error(node.value["latency"], '"latency" is an older name of "latencies", which is here as well')
    return Region(name=name, towards=values.get("latencies", values.get("latency", {})), origin=node.origin)


def _entries(node: Node) -> dict[str, Node]:
    return table_of(table_of(node).get("latencies", table_of(node).get("latency")))


@accepts(map_shape({"anyOf": [{"type": ["number", "string"]}, shape_of(condition)]}))
def _towards(node: Node, report: Report) -> dict[str, LinkCondition] | None:
    """The condition towards each region; a wrong one is reported, and the link is there all the same."""
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "a table of regions and latencies")
        return None
    return {other: _condition(child, report) or LinkCondition() for other, child in node.value.items()}


def _condition(node: Node, report: Report) -> LinkCondition | None:
    """Milliseconds (a number, also as a string), a duration, or the table of a link condition."""
    if isinstance(node.value, dict):
        return condition(node, report)
    if isinstance(node.value, bool) or not isinstance(node.value, str | int | float):
        report.error(
            node, f"found {describe(node)}", 'milliseconds, a duration such as "80ms", or the table of a link condition'
        )
        return None
    if isinstance(node.value, str) and node.value.strip()[-1:].isalpha():
        seconds = duration(node, report)
        return None if seconds is None else LinkCondition(latency_ms=round(seconds * 1000, 6))
    latency_ms = number(0, 3_600_000)(node, report)
    return None if latency_ms is None else LinkCondition(latency_ms=latency_ms)


_LATENCIES = described(_towards, "the regions that this one is linked to, and what the way there does", kind="table")
REGION_FIELDS: dict[str, Any] = {"latencies": _LATENCIES, "latency": _LATENCIES.alias_of("latencies")}
