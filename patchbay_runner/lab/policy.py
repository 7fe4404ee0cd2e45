"""What a router does to the packets that pass it: its kernel settings and its nftables tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.nat64 import CLIENT_POOL, INTERFACE
from patchbay_runner.lab.addressing import LAN_BRIDGE, AddressPlan, Port
from patchbay_runner.lab.firewall import FIREWALL_TABLE, firewall_ruleset
from patchbay_runner.lab.nat import NAT_TABLE, NatPlacement, nat_ruleset, nat_sysctls
from patchbay_runner.lab.nat_v6 import NAT_V6_TABLE, UplinkV6, masquerade_ruleset, nat_v6_sysctls, nptv6_ruleset
from patchbay_runner.lab.path_mtu import BLACK_HOLE_TABLE, black_hole_ruleset
from patchbay_runner.lab.routing import PrefixMapping, Route
from patchbay_runner.model.nat import Filtering, NatConfig, NatTimeouts
from patchbay_runner.model.topology import NatV6, Router

# RFC 6146: endpoint-independent mapping and filtering, hairpinning, and in section 4 the timeouts.
_NAT64 = NatConfig(
    filtering=Filtering.ENDPOINT_INDEPENDENT,
    hairpin=True,
    timeouts=NatTimeouts(udp_s=300, udp_stream_s=300, tcp_established_s=7440),
)


class Policy(msgspec.Struct, frozen=True):
    """`sysctls` in the order in which they are written; `rulesets` are nft files by the table that each makes."""

    sysctls: tuple[tuple[str, str], ...]
    rulesets: dict[str, str] = {}


def router_policy(
    router: Router, plan: AddressPlan, inside: Sequence[Route], mappings: Sequence[PrefixMapping]
) -> Policy:
    """`inside` are the router's routes to LANs behind its own, `mappings` those of a router with NPTv6.

    Raises LabError for a NAT64 without IPv4 to translate to.
    """
    sysctls = dict(forwarding(v4=router.uplink_support.v4, v6=router.ip_support.v6))
    rulesets = {}
    if router.block_icmp_frag_needed:
        rulesets[f"inet {BLACK_HOLE_TABLE}"] = black_hole_ruleset()
    if router.is_isolated:
        return Policy(tuple(sysctls.items()), rulesets)
    wan = plan.wan(router)
    if router.is_nat64 and wan.v4 is None:
        raise LabError("NAT64 needs an uplink with IPv4", router.name)
    config = router.nat.config or (_NAT64 if router.is_nat64 else None)
    if config is not None and wan.v4 is not None:
        rulesets[f"ip {NAT_TABLE}"] = nat_ruleset(config, _nat_placement(wan, plan, router, inside))
        sysctls |= nat_sysctls(config)
    if router.nat_v6.hides and wan.v6 is not None:
        uplink = UplinkV6(wan.interface, wan.v6.ip)
        is_masquerading = router.nat_v6 is NatV6.MASQUERADE
        ruleset = masquerade_ruleset(uplink) if is_masquerading else nptv6_ruleset(uplink, mappings)
        rulesets[f"ip6 {NAT_V6_TABLE}"] = ruleset
        sysctls |= nat_v6_sysctls(is_masquerading=is_masquerading)
    if not router.firewall.config.is_open:
        rulesets[f"inet {FIREWALL_TABLE}"] = firewall_ruleset(router.firewall.config, wan.interface)
    return Policy(tuple(sysctls.items()), rulesets)


def forwarding(*, v4: bool, v6: bool) -> Iterator[tuple[str, str]]:
    """The settings that make a router of a network namespace."""
    # Routes between members of one LAN are the lab's, so a redirect would only teach a host a second path.
    yield "ipv4/conf/all/send_redirects", "0"
    if v4:
        yield "ipv4/ip_forward", "1"
    if v6:
        yield "ipv6/conf/all/forwarding", "1"


def _nat_placement(wan: Port, plan: AddressPlan, router: Router, inside: Sequence[Route]) -> NatPlacement:
    assert wan.v4 is not None
    lan = plan.lans[router.name].v4
    own = [lan] if lan is not None else []
    behind = [route.destination for route in inside if isinstance(route.destination, IPv4Network)]
    return NatPlacement(
        wan.interface,
        wan.v4.ip,
        LAN_BRIDGE,
        tuple(own + behind),
        nat64=(INTERFACE, CLIENT_POOL) if router.is_nat64 else None,
        is_nat64_alone=router.is_nat64 and router.nat.config is None,
    )
