"""A router's firewall as nftables rules. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from patchbay_runner.model.firewall import FirewallConfig

FIREWALL_TABLE = "patchbay_firewall"


def firewall_ruleset(config: FirewallConfig, wan: str) -> str:
    """An nft file that makes the firewall's table, where there is none."""
    rules = "\n".join(f"    {rule}" for rule in _rules(config, wan))
    # After the NAT's own filter, which looks at the same packets at priority 0.
    hook = "type filter hook forward priority filter + 10; policy accept;"
    return f"table inet {FIREWALL_TABLE} {{\n  chain forward {{\n    {hook}\n{rules}\n  }}\n}}\n"


def _rules(config: FirewallConfig, wan: str) -> Iterator[str]:
    # What is dropped is counted: the rules are kept of sims that fail, and so say which of them was in the way.
    # An ICMP error about a flow is related to it: packet-too-big and unreachable pass in both directions.
    yield "ct state established,related accept"
    if config.block_inbound:
        yield f'iifname "{wan}" counter drop'
    for proto, ports in (("tcp", config.allow_tcp), ("udp", config.allow_udp)):
        if ports is None:
            continue
        other = f"{proto} dport != {{ {', '.join(map(str, ports))} }} " if ports else ""
        # Dropped, not refused: what these firewalls teach a program is to wait for an answer that does not come.
        yield f'oifname "{wan}" meta l4proto {proto} {other}counter drop'
