"""A path whose MTU nobody is told: a router that keeps back what path MTU discovery lives on, as nftables rules. Pure.

What does not fit then disappears without a word (RFC 2923, section 2.1).
"""

from __future__ import annotations

BLACK_HOLE_TABLE = "patchbay_path_mtu"

# RFC 792's "fragmentation needed" and RFC 4443's "packet too big".
_RULES = "    icmp type destination-unreachable icmp code 4 drop\n    icmpv6 type packet-too-big drop\n"


def black_hole_ruleset() -> str:
    """An nft file that drops these messages, those of others (forward) and the router's own (output)."""
    chains = "".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority filter - 10; policy accept;\n{_RULES}  }}\n"
        for hook in ("forward", "output")
    )
    return f"table inet {BLACK_HOLE_TABLE} {{\n{chains}}}\n"
