"""A router's `cidr` and `cidr_v6`: the prefixes of its LAN, and whether it can have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, ip_interface, ip_network
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import filled_text
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import accepts, one_shape_of
from patchbay_runner.model.ranges import PRIVATE_V4, most_members, spoken_for
from patchbay_runner.model.topology import IpSupport, Router

_SHORTEST_V4, _LONGEST_V4 = 8, 30
_LENGTH_V6 = 64
_EXPECTED_V4 = f'an IPv4 prefix of /{_SHORTEST_V4} to /{_LONGEST_V4}, such as "10.7.0.0/24"'
_EXPECTED_V6 = f'an IPv6 prefix of /{_LENGTH_V6}, such as "fd77::/64"'


@accepts(one_shape_of({"type": "string", "pattern": r"\."}))
def cidr(node: Node, report: Report) -> str | None:
    """An IPv4 prefix, as the kernel writes it."""
    return _prefix(node, report, 4, range(_SHORTEST_V4, _LONGEST_V4 + 1), _EXPECTED_V4)


@accepts(one_shape_of({"type": "string", "pattern": ":"}))
def cidr_v6(node: Node, report: Report) -> str | None:
    """An IPv6 prefix, as RFC 5952 writes it."""
    return _prefix(node, report, 6, range(_LENGTH_V6, _LENGTH_V6 + 1), _EXPECTED_V6)


def check_cidrs(routers: Sequence[tuple[Router, Node]], interfaces: Mapping[str, int], report: Report) -> None:
    """Reports LANs that overlap, that are of a family that their router lacks, or that have too few addresses.

    `interfaces` is how many sub-routers and device interfaces stand on the LAN of each router.
    """
    earlier: list[tuple[Router, Node, Any]] = []
    for router, node in routers:
        for key, written in (("cidr", router.cidr), ("cidr_v6", router.cidr_v6)):
            if written is None:
                continue
            prefix, place = ip_network(written), node.value[key]
            _check_family(router, place, prefix.version, report)
            for other, other_place, other_prefix in earlier:
                if other_prefix.version == prefix.version and other_prefix.overlaps(prefix):
                    where = f"{quote(str(other_prefix))} of the router {quote(other.name)} at {other_place.origin}"
                    report.error(place, f"{quote(written)} overlaps {where}", "a prefix of its own")
                    break
            earlier.append((router, place, prefix))
            if isinstance(prefix, IPv4Network):
                _check_room(prefix, interfaces.get(router.name, 0), place, report)


def _prefix(node: Node, report: Report, version: int, lengths: range, expected: str) -> str | None:
    text = filled_text(node, report)
    if text is None:
        return None
    try:
        written = ip_interface(text)
    except ValueError:
        written = None
    if written is None or written.version != version or written.network.prefixlen not in lengths:
        report.error(node, f"found {describe(node)}", expected)
    elif written.ip != written.network.network_address:
        report.error(node, f"{quote(text)} is one address of a prefix", quote(str(written.network)))
    elif isinstance(written.network, IPv4Network) and written.network.supernet_of(PRIVATE_V4[0]):
        message = f"{quote(text)} leaves no private addresses for other LANs, which are of {PRIVATE_V4[0]}"
        report.error(node, message, "a longer prefix")
    elif (rival := spoken_for(written.network)) is not None:
        report.error(node, f"{quote(text)} overlaps {rival}", "another prefix")
    else:
        return str(written.network)
    return None


def _check_family(router: Router, place: Node, version: int, report: Report) -> None:
    support = router.ip_support
    if not (support.v4 if version == 4 else support.v6):
        why = f"the router carries no IPv{version} (its ip_support is {quote(support.value)})"
        report.error(place, why, f"no key, or ip_support = {quote(IpSupport.DUAL_STACK.value)}")


def _check_room(prefix: IPv4Network, needed: int, place: Node, report: Report) -> None:
    if needed > most_members(prefix):
        message = (
            f"{quote(str(prefix))} has addresses for {most_members(prefix):,} members, and {needed:,} are on the LAN"
        )
        report.error(place, message, "a shorter prefix")
