"""The tables that a NAT's rules keep, and the rules that write them. Pure.

Every flow is looked at from both sides. Whoever opened it from inside has its inner endpoint in the original tuple's
source and its outer one in the reply's destination; whoever was reached from outside has them in the reply's source
and the original's destination. A hairpinned flow has one of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from patchbay_runner.model.nat import Filtering, Mapping, NatConfig, PortAllocation

# A TCP mapping without an established connection (RFC 5382, REQ-5: at least four minutes), in seconds.
TRANSITORY_S = 240

# conntrack keeps closing connections for up to 120 s and open ones for longer (those with unacknowledged data, 300 s).
_CLOSING_S = 120

# The kernel allocates four buckets for three entries at once and rounds them up to a power of two: this is the most
# that 256 KiB a table hold.
_ENTRIES = 12288


@dataclass(frozen=True, slots=True)
class NatTables:
    """Which tables a NAT needs. None of them: it is what the kernel does by itself."""

    outward: bool
    inward: bool
    used: bool
    stream: bool
    peers: bool

    @classmethod
    def of(cls, config: NatConfig) -> NatTables:
        filters = config.filtering is not Filtering.ENDPOINT_INDEPENDENT
        outward = config.mapping is Mapping.ENDPOINT_INDEPENDENT
        inward = config.hairpin or config.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT
        used = outward or inward or config.port_allocation is not PortAllocation.RANDOM or config.port_range is not None
        stream = used and config.timeouts.udp_s != config.timeouts.udp_stream_s
        return cls(outward, inward, used, stream, peers=inward and filters)


@dataclass(frozen=True, slots=True)
class _Side:
    """One end of a translated flow, in nft's words."""

    chain: str
    status: str
    inner: str
    inner_port: str
    outer_port: str
    peer: str
    peer_port: str


_OPENER = _Side(
    "opener",
    "snat",
    inner="ct original ip saddr",
    inner_port="ct original proto-src",
    outer_port="ct reply proto-dst",
    peer="ct original ip daddr",
    peer_port="ct original proto-dst",
)
_REACHED = _Side(
    "reached",
    "dnat",
    inner="ct reply ip saddr",
    inner_port="ct reply proto-src",
    outer_port="ct original proto-dst",
    peer="ct reply ip daddr",
    peer_port="ct reply proto-dst",
)


def chain(name: str, hook: str, rules: Iterable[str]) -> Iterator[str]:
    """An nft chain; without a `hook` one to jump to."""
    yield f"  chain {name} {{"
    if hook:
        yield f"    {hook}"
    yield from (f"    {rule}" for rule in rules)
    yield "  }"


def table_declarations(config: NatConfig, tables: NatTables) -> Iterator[str]:
    """The nft declarations of the tables. The timeouts here are what a listing shows; every entry brings its own."""
    timeout_s = config.timeouts.udp_stream_s
    if tables.outward:
        yield _declaration("map out", "inet_proto . ipv4_addr . inet_service : inet_service", timeout_s, _ENTRIES)
    if tables.inward:
        yield _declaration("map in", "inet_proto . inet_service : ipv4_addr . inet_service", timeout_s, _ENTRIES)
    if tables.used:
        yield _declaration("set used", "inet_proto . inet_service", timeout_s, _ENTRIES)
    if tables.stream:
        yield _declaration("set stream", "inet_service", timeout_s, _ENTRIES)
    if tables.peers:
        port = "" if config.filtering is Filtering.ADDRESS_DEPENDENT else " . inet_service"
        yield _declaration("set peers", f"inet_proto . inet_service . ipv4_addr{port}", timeout_s, _ENTRIES)


def learn_chains(config: NatConfig, tables: NatTables) -> Iterator[str]:
    """After source NAT: keeps the tables, and drops what the filtering behaviour does not let in.

    The verdict falls here and not on the way in, because what one member may send another depends on the sender's
    outer endpoint, which is only now known; and because the sender's own tables are kept even when it is not let in.
    """
    if not tables.used:
        return
    sides = (_OPENER, _REACHED) if tables.inward else (_OPENER,)
    for side in sides:
        # A table is full: a flow without a mapping would be something else than what was asked for.
        full = "meta l4proto { tcp, udp } drop"
        keep = (*_udp_rules(side, config, tables), *_tcp_rules(side, config, tables))
        yield from chain(side.chain, "", (*keep, full))
    rules = [f"ct status {_OPENER.status} jump {_OPENER.chain}"]
    if tables.peers:
        rules += (_admission(proto, config) for proto in ("tcp", "udp"))
    if tables.inward:
        rules.append(f"ct status {_REACHED.status} jump {_REACHED.chain}")
    yield from chain("learn", "type filter hook postrouting priority srcnat + 1; policy accept;", rules)


def _declaration(name: str, types: str, timeout_s: int, size: int) -> str:
    return f"  {name} {{\n    type {types}; flags dynamic,timeout; timeout {timeout_s}s; size {size};\n  }}"


def _admission(proto: str, config: NatConfig) -> str:
    sender = "ip saddr" if config.filtering is Filtering.ADDRESS_DEPENDENT else f"ip saddr . {proto} sport"
    return (
        f"meta l4proto {proto} ct state new ct status {_REACHED.status} "
        f"meta l4proto . {_REACHED.outer_port} . {sender} != @peers drop"
    )


def _udp_rules(side: _Side, config: NatConfig, tables: NatTables) -> Iterator[str]:
    """A mapping lives by the longer timeout once one of its flows does, which is when conntrack calls it assured."""
    timeouts = config.timeouts
    if tables.stream:
        keep = _keep(side, "update", timeouts.udp_stream_s, config, tables)
        mark = f"update @stream {{ {side.outer_port} timeout {timeouts.udp_stream_s}s }}"
        yield f"meta l4proto udp ct status assured {mark} {keep} return"
        yield f"meta l4proto udp {side.outer_port} @stream {mark} {keep} return"
    yield f"meta l4proto udp {_keep(side, 'update', timeouts.udp_s, config, tables)} return"


def _tcp_rules(side: _Side, config: NatConfig, tables: NatTables) -> Iterator[str]:
    """An established connection keeps its mapping for long, its end cuts that short, anything else changes nothing."""
    established_s = config.timeouts.tcp_established_s
    if established_s <= _CLOSING_S:
        yield f"meta l4proto tcp {_keep(side, 'update', established_s, config, tables)} return"
        return
    transitory_s = min(TRANSITORY_S, established_s)
    shorten = _keep(side, "update", transitory_s, config, tables)
    yield f"meta l4proto tcp ct status assured tcp flags & (fin | rst) != 0 {shorten} return"
    lengthen = _keep(side, "update", established_s, config, tables)
    # The expiration of a flow that has seen one packet is not a time yet.
    yield f"meta l4proto tcp ct status assured ct expiration > {_CLOSING_S}s {lengthen} return"
    yield f"meta l4proto tcp {_keep(side, 'add', transitory_s, config, tables)} return"


def _keep(side: _Side, verb: str, timeout_s: int, config: NatConfig, tables: NatTables) -> str:
    inner = f"{side.inner} . {side.inner_port}"
    statements = []
    if tables.outward:
        statements.append(f"{verb} @out {{ meta l4proto . {inner} timeout {timeout_s}s : {side.outer_port} }}")
    if tables.inward:
        statements.append(f"{verb} @in {{ meta l4proto . {side.outer_port} timeout {timeout_s}s : {inner} }}")
    statements.append(f"{verb} @used {{ meta l4proto . {side.outer_port} timeout {timeout_s}s }}")
    if tables.peers:
        peer = side.peer if config.filtering is Filtering.ADDRESS_DEPENDENT else f"{side.peer} . {side.peer_port}"
        statements.append(f"{verb} @peers {{ meta l4proto . {side.outer_port} . {peer} timeout {timeout_s}s }}")
    return " ".join(statements)
