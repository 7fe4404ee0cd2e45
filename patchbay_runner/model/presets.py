"""Presets of routers: what a kind of network in the real world amounts to. A router's own keys override them."""

from __future__ import annotations

import msgspec

from patchbay_runner.model.firewall import Firewall, firewall_mode
from patchbay_runner.model.nat import Nat, nat_mode
from patchbay_runner.model.topology import IpSupport, NatV6, Pool


class Preset(msgspec.Struct, frozen=True):
    """Values of the fields of `Router` that have the same names."""

    nat: Nat
    nat_v6: NatV6
    firewall: Firewall
    ip_support: IpSupport
    pool: Pool


def _preset(nat: str, nat_v6: str, firewall: str, ip_support: str, pool: str) -> Preset:
    return Preset(nat_mode(nat), NatV6(nat_v6), firewall_mode(firewall), IpSupport(ip_support), Pool(pool))


PRESETS: dict[str, Preset] = {
    "home": _preset("home", "none", "block-inbound", "dual-stack", "private"),
    "public": _preset("none", "none", "none", "dual-stack", "public"),
    "public-v4": _preset("none", "none", "none", "v4-only", "public"),
    "isp-cgnat": _preset("cgnat", "none", "none", "dual-stack", "private"),
    "isp-v6": _preset("none", "nat64", "block-inbound", "v6-only", "public"),
    "corporate": _preset("corporate", "none", "corporate", "dual-stack", "private"),
    "hotel": _preset("corporate", "none", "captive-portal", "v4-only", "private"),
    "cloud": _preset("cloud-nat", "none", "none", "dual-stack", "private"),
}

# Names that older documents use for the same networks.
PRESET_ALIASES: dict[str, str] = {
    "datacenter": "public",
    "isp-v4": "public-v4",
    "mobile": "isp-cgnat",
    "mobile-v6": "isp-v6",
}
