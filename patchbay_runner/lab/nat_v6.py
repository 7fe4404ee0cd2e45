"""IPv6 address translation as nftables rules: NPTv6 and masquerading. Pure.

Prefixes are mapped by conntrack, so that ICMPv6 errors, which quote a packet of the other side, are mapped as well. It
maps by flow, and leaves alone what it knows no flow for (the middle of a connection after the router has lost its
state); that is mapped address by address, so that NPTv6 depends on no state (RFC 6296).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from patchbay_runner.lab.nat_tables import chain
from patchbay_runner.lab.routing import PrefixMapping

NAT_V6_TABLE = "patchbay_nat_v6"


@dataclass(frozen=True, slots=True)
class UplinkV6:
    """A router's uplink: its name and its IPv6 address."""

    name: str
    address: IPv6Address


def nptv6_ruleset(uplink: UplinkV6, mappings: Sequence[PrefixMapping]) -> str:
    """An nft file that makes the table of a router that maps prefixes, new flows from outside included (RFC 6296)."""
    invalid = "ct state invalid"
    chains = [
        *_hooked("outside_in", "nat hook prerouting priority dstnat", map(_to_inside, mappings)),
        *_hooked(
            "stateless_in",
            "filter hook prerouting priority dstnat",
            [f"{invalid} {_rewritten('daddr', mapping.outside, mapping.inside)}" for mapping in mappings],
        ),
        *_hooked("forward", "filter hook forward priority filter", _nptv6_forward(uplink, mappings)),
        *_hooked(
            "inside_out",
            "nat hook postrouting priority srcnat",
            [rule for mapping in mappings for rule in _to_outside(uplink, mapping)],
        ),
        *_hooked(
            "stateless_out",
            "filter hook postrouting priority srcnat",
            [
                f'oifname "{uplink.name}" {invalid} {_rewritten("saddr", mapping.inside, mapping.outside)}'
                for mapping in mappings
            ],
        ),
    ]
    return _table(chains)


def masquerade_ruleset(uplink: UplinkV6) -> str:
    """An nft file that makes the table of a router that hides all behind its own address and lets replies in alone."""
    arriving = f'iifname "{uplink.name}"'
    # As for IPv4: a packet that comes before the flow it is meant for must leave none behind. Neighbour discovery and
    # ICMPv6 errors are the router's own business.
    entering = [f"{arriving} ct state established,related accept", f"{arriving} meta l4proto icmpv6 accept"]
    leaving = f'oifname "{uplink.name}"'
    passing = [
        f"{leaving} ct state invalid drop",
        f"{arriving} ct state established,related accept",
        f"{arriving} drop",
    ]
    hidden = [
        f"{leaving} ip6 saddr != {{ {uplink.address}, fe80::/10 }} snat ip6 to {uplink.address}",
    ]
    chains = [
        # Reply packets are translated back at its hook.
        *_hooked("prerouting", "nat hook prerouting priority dstnat", ()),
        *_hooked("input", "filter hook input priority filter", [*entering, f"{arriving} drop"]),
        *_hooked("forward", "filter hook forward priority filter", passing),
        *_hooked("source_nat", "nat hook postrouting priority srcnat", hidden),
    ]
    return _table(chains)


def nat_v6_sysctls(*, is_masquerading: bool) -> Mapping[str, str]:
    """Settings below /proc/sys/net; they exist once a ruleset that tracks flows is loaded."""
    # The end hosts judge what is outside a connection's window, as with IPv4.
    settings = {"netfilter/nf_conntrack_tcp_be_liberal": "1"}
    if is_masquerading:
        settings["netfilter/nf_conntrack_tcp_loose"] = "0"
    return settings


def _to_inside(mapping: PrefixMapping) -> str:
    # Matched by prefix, so that neighbour discovery, which concerns the uplink's own addresses, is left alone.
    return f"ip6 daddr {mapping.outside} dnat ip6 prefix to {mapping.inside}"


def _to_outside(uplink: UplinkV6, mapping: PrefixMapping) -> Iterator[str]:
    target = f"ip6 saddr {mapping.inside} snat ip6 prefix to {mapping.outside}"
    yield f'oifname "{uplink.name}" {target}'
    # Members who meet at their outside addresses: the answer has to come back this way (RFC 6296, section 4.3).
    yield f'oifname != "{uplink.name}" ct status dnat {target}'


def _nptv6_forward(uplink: UplinkV6, mappings: Sequence[PrefixMapping]) -> Iterator[str]:
    """What is addressed to an inside address from outside, where nobody may know it, is dropped."""
    yield f'iifname "{uplink.name}" ct status dnat accept'
    for mapping in mappings:
        yield f'iifname "{uplink.name}" ip6 daddr {mapping.inside} ct state new drop'


def _rewritten(field: str, old: IPv6Network, new: IPv6Network) -> str:
    return f"ip6 {field} {old} ip6 {field} set ip6 {field} & {old.hostmask} | {new.network_address}"


def _table(lines: list[str]) -> str:
    body = "\n".join(lines)
    return f"table ip6 {NAT_V6_TABLE} {{\n{body}\n}}\n"


def _hooked(name: str, hook: str, rules: Iterable[str]) -> Iterator[str]:
    return chain(name, f"type {hook}; policy accept;", list(rules))
