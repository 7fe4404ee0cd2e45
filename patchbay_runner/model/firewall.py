"""What a router's firewall lets through. Both families alike; traffic to the router itself is never filtered."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FirewallMode = Literal["none", "block-inbound", "corporate", "captive-portal", "custom"]


class FirewallConfig(msgspec.Struct, frozen=True):
    """A stateful firewall between a router's LAN and its uplink: answers to what was let out always pass.

    `block_inbound` drops what comes from the uplink unasked (RFC 6092, REC-31 and REC-33). `allow_tcp` and `allow_udp`
    are the only destination ports that may leave, None for all; other protocols, ICMP above all, may always leave.
    """

    block_inbound: bool = False
    allow_tcp: tuple[int, ...] | None = None
    allow_udp: tuple[int, ...] | None = None

    @property
    def is_open(self) -> bool:
        return self == _OPEN

    @property
    def table(self) -> dict[str, Any]:
        """The table of a sim that means this."""
        ports = {"allow_tcp": self.allow_tcp, "allow_udp": self.allow_udp}
        return {"block_inbound": self.block_inbound} | {
            key: list(allowed) for key, allowed in ports.items() if allowed is not None
        }


_OPEN = FirewallConfig()

FIREWALLS: dict[str, FirewallConfig] = {
    "none": _OPEN,
    "block-inbound": FirewallConfig(block_inbound=True),
    "corporate": FirewallConfig(block_inbound=True, allow_tcp=(80, 443), allow_udp=(53,)),
    "captive-portal": FirewallConfig(block_inbound=True, allow_udp=(53,)),
}


class Firewall(msgspec.Struct, frozen=True):
    """A router's firewall: the mode's name as written, and what it means."""

    mode: FirewallMode = "none"
    config: FirewallConfig = _OPEN


def firewall_mode(name: str) -> Firewall:
    """The firewall of a named mode. Raises KeyError for an unknown name."""
    return Firewall(name, FIREWALLS[name])  # type: ignore[arg-type]  # the key lookup is the check
