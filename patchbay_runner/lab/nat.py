"""IPv4 NAT as nftables rules. Pure: a NAT's behaviour and its place in a router go in, rule text comes out.

Linux's own source NAT is endpoint-dependent and filters by address and port, because it knows flows and nothing else.
Everything that RFC 4787 (UDP), RFC 5382 (TCP) and the named modes ask beyond that rests on five tables that the rules
themselves keep:

- `out`: inner endpoint to outer port. It makes a mapping endpoint-independent.
- `in`: outer port to inner endpoint. It lets in packets that belong to no flow yet.
- `used`: outer ports that are taken. No two inner endpoints share one, whatever they talk to.
- `stream`: outer ports whose mapping has carried a conversation and so lives by the longer timeout.
- `peers`: outer port and outside endpoint that it has sent to. It decides what is let in.

A flow's outer port is chosen in `choose`, just before the kernel's source NAT, and the tables are written in `learn`,
just after it: a chain of type nat sees only the first packet of a flow, and entries have to outlive it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from patchbay_runner.lab.nat_ports import choose_chains, port_target
from patchbay_runner.lab.nat_tables import NatTables, chain, learn_chains, table_declarations
from patchbay_runner.model.nat import Filtering, NatConfig

# Not "nat": iptables claims the name for itself, and a program under test may use iptables.
NAT_TABLE = "patchbay_nat"

# What the flows of a translator from IPv6 are known by in conntrack, once it has ended.
NAT64_MARK = 0x4E36344E


@dataclass(frozen=True, slots=True)
class NatPlacement:
    """Where a NAT sits: the uplink's name and address, the LAN bridge's name, and every network behind it.

    `nat64` is the interface and the addresses of the clients of a translator from IPv6; their flows carry NAT64_MARK.
    `is_nat64_alone` leaves everybody else's packets as they are.
    """

    wan: str
    wan_address: IPv4Address
    lan: str
    lan_networks: tuple[IPv4Network, ...]
    nat64: tuple[str, IPv4Network] | None = None
    is_nat64_alone: bool = False

    @property
    def inside(self) -> tuple[str, ...]:
        """The interfaces from which hairpinned packets come, and to which they go back."""
        lan = () if self.is_nat64_alone else (self.lan,)
        return lan if self.nat64 is None else (*lan, self.nat64[0])

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        """Whose packets are translated."""
        lan = () if self.is_nat64_alone else self.lan_networks
        return lan if self.nat64 is None else (*lan, self.nat64[1])


def nat_ruleset(config: NatConfig, placement: NatPlacement) -> str:
    """A whole nft file that sets `config` up in a router that has no NAT yet."""
    tables = NatTables.of(config)
    chains = [
        *_prerouting(config, placement, tables),
        *_input(config, placement, tables),
        *_forward(placement, tables),
        *choose_chains(config, list(_scopes(config, placement)), tables),
        *_source_nat(config, placement, tables),
        *learn_chains(config, tables),
    ]
    body = "\n".join((*table_declarations(config, tables), *chains))
    return f"table ip {NAT_TABLE} {{\n{body}\n}}\n"


def nat_sysctls(config: NatConfig) -> Mapping[str, str]:
    """Settings of a NAT router, by path below /proc/sys/net. They exist once the ruleset is loaded."""
    timeouts = config.timeouts
    prefix = "netfilter/nf_conntrack_"
    return {
        f"{prefix}udp_timeout": str(timeouts.udp_s),
        f"{prefix}udp_timeout_stream": str(timeouts.udp_stream_s),
        f"{prefix}tcp_timeout_established": str(timeouts.tcp_established_s),
        # A NAT that has forgotten a connection does not take it up again in the middle.
        f"{prefix}tcp_loose": "0",
        # Packets outside the window are for the end hosts to judge: reordering and loss are simulated here.
        f"{prefix}tcp_be_liberal": "1",
    }


def _prerouting(config: NatConfig, place: NatPlacement, tables: NatTables) -> Iterator[str]:
    """Packets that belong to no flow find the mapping that they are addressed to."""
    # The chain has to be there even when empty: reply packets are translated back at its hook.
    rules = []
    entrances = []
    if config.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT:
        entrances.append(place.wan)
    if config.hairpin:
        entrances += place.inside
    if tables.inward:
        rules = [
            f'iifname "{entrance}" ip daddr {place.wan_address} meta l4proto {{ tcp, udp }} '
            "dnat ip to meta l4proto . th dport map @in"
            for entrance in entrances
        ]
    return chain("prerouting", "type nat hook prerouting priority dstnat; policy accept;", rules)


def _input(config: NatConfig, place: NatPlacement, tables: NatTables) -> Iterator[str]:
    """What is addressed to the router itself.

    A packet from outside that comes before the mapping it is meant for must leave no flow behind, or the flow that it
    belongs to later would find its tuple taken and get another port.
    """
    rules = [
        f'iifname "{place.wan}" ct state established,related accept',
        f'iifname "{place.wan}" icmp type echo-request accept',
        f'iifname "{place.wan}" drop',
    ]
    if tables.used and not config.hairpin:
        # Without hairpinning a packet to another member's outer endpoint gets lost; the router does not refuse it.
        rules += [
            f'iifname "{inside}" ip daddr {place.wan_address} meta l4proto . th dport @used drop'
            for inside in place.inside
        ]
    return chain("input", "type filter hook input priority filter; policy accept;", rules)


def _forward(place: NatPlacement, tables: NatTables) -> Iterator[str]:
    rules = []
    arriving, leaving = f'iifname "{place.wan}"', ""
    if place.nat64 is not None:
        interface, clients = place.nat64
        rules += [f'{way} "{interface}" ct mark set {NAT64_MARK:#x}' for way in ("iifname", "oifname")]
        if place.is_nat64_alone:
            arriving, leaving = f"{arriving} ip daddr {clients}", f"ip saddr {clients} "
    # conntrack does not translate what it finds invalid: it would leave with its inner address. Between a LAN's member
    # and one of a LAN behind it the router may see the answers alone, which are invalid, too.
    rules += [
        f'oifname "{place.wan}" {leaving}ct state invalid drop',
        f"{arriving} ct state established,related accept",
    ]
    if tables.inward:
        rules.append(f"{arriving} ct status dnat accept")
    rules.append(f"{arriving} drop")
    return chain("forward", "type filter hook forward priority filter; policy accept;", rules)


def _source_nat(config: NatConfig, place: NatPlacement, tables: NatTables) -> Iterator[str]:
    which, port = port_target(config, tables)
    told = " ".join(filter(None, ("meta l4proto { tcp, udp }", which, f"snat ip to {place.wan_address} : {port}")))
    rules = []
    for scope in _scopes(config, place):
        rules += [f"{scope} {told}", f"{scope} snat ip to {place.wan_address}"]
    return chain("source_nat", "type nat hook postrouting priority srcnat; policy accept;", rules)


def _scopes(config: NatConfig, place: NatPlacement) -> Iterator[str]:
    """What is translated: everything that leaves by the uplink, and what one member sends another by way of it."""
    networks = ", ".join(map(str, place.networks))
    sources = f"{{ {networks} }}" if place.is_nat64_alone else f"!= {place.wan_address}"
    yield f'oifname "{place.wan}" ip saddr {sources}'
    if config.hairpin and place.networks:
        for inside in place.inside:
            yield f'oifname "{inside}" ct status dnat ip saddr {{ {networks} }}'
