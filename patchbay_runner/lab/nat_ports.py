"""How a NAT chooses the outer port of a flow, as nftables rules. Pure.

The port is written into the packet itself, just before the kernel's source NAT takes it from there: nft cannot compute
a port and look it up before deciding on it in any other place.
"""

from __future__ import annotations

from collections.abc import Iterator

from patchbay_runner.lab.nat_tables import NatTables, chain
from patchbay_runner.model.nat import NatConfig, PortAllocation

# Where endpoints whose own port is taken get one: above the ports that Linux hosts use by themselves (32768 to 60999),
# so that a port tells whether it was preserved. With every fourth in use, sixteen tries fail in 1 of 4e9 cases.
_MOVED = 0xF000
# Ports that are random from the start.
_RANDOM = 0x8000
_ROUNDS = 4
_TRIES = 4
_HASH_SEED = 0x7062
_PORTS = 0x10000
_SEQUENCE = (_MOVED, 0xFFFF)


def choose_chains(config: NatConfig, scopes: list[str], tables: NatTables) -> Iterator[str]:
    """The chains that give every new flow in one of `scopes` a port that no other inner endpoint has."""
    if not tables.used:
        return
    if _is_listed(config):
        listed = ", ".join(f"{number} : {port}" for number, port in enumerate(_ports(config)))
        yield f"  map ports {{\n    typeof numgen inc mod 2 : th dport; elements = {{ {listed} }}\n  }}"
    rules = ["ct state != new accept", "ct status snat accept"]
    for scope in scopes:
        rules += [
            f"{scope} meta l4proto tcp goto choose_tcp",
            f"{scope} udp checksum 0 goto choose_udp_unsummed",
            f"{scope} meta l4proto udp goto choose_udp",
        ]
    yield from _choose("tcp", "tcp", "accept", config, tables)
    # nft would turn the absent checksum into a wrong one.
    yield from _choose("udp", "udp_unsummed", "udp checksum set 0 accept", config, tables)
    yield from _choose("udp", "udp", "accept", config, tables)
    yield from chain("choose", "type filter hook postrouting priority srcnat - 1; policy accept;", rules)


def port_target(config: NatConfig, tables: NatTables) -> tuple[str, str]:
    """Which TCP and UDP packets need their port told to the kernel's source NAT, and the port."""
    if not tables.used:
        return "", "1024-65535 fully-random"
    if config.port_allocation is PortAllocation.PRESERVING and config.port_range is None:
        # Only those that are moved: told a port, the kernel does not look for an expired flow that still occupies it,
        # and drops the packet on finding one. Told none, it looks, and preserves the port.
        return f"th sport >= {_MOVED}", "th sport"
    return "", "th sport"


def _is_listed(config: NatConfig) -> bool:
    """Whether ports come from a list; else from anywhere."""
    return config.port_range is not None or config.port_allocation is PortAllocation.SEQUENTIAL


def _choose(proto: str, name: str, done: str, config: NatConfig, tables: NatTables) -> Iterator[str]:
    """The port of a mapping that there is, the endpoint's own, or another that is free, as the NAT allocates them."""
    free = f"meta l4proto . {proto} sport != @used"
    rules = []
    if tables.outward:
        rules.append(f"{proto} sport set meta l4proto . ip saddr . {proto} sport map @out {done}")
    if config.port_allocation is PortAllocation.PRESERVING:
        own = "" if config.port_range is None else f"{proto} sport {config.port_range[0]}-{config.port_range[1]} "
        rules.append(f"{own}{free} {done}")
    if not _is_listed(config):
        yield from _guess(proto, name, f"{free} {done}", config, tables)
        rules += [f"jump guess_{name}"] * _ROUNDS
    else:
        if config.port_allocation is PortAllocation.RANDOM:
            yield from _draw(proto, name, f"{free} {done}", config)
            rules.append(f"jump draw_{name}")
        yield from _walk(proto, name, f"{free} {done}", config)
        rules.append(f"jump walk_{name}")
    yield from chain(f"choose_{name}", "", [*rules, "drop"])


def _guess(proto: str, name: str, take: str, config: NatConfig, tables: NatTables) -> Iterator[str]:
    """Some tries in the upper half of all ports, of which one is almost surely free."""
    is_moved = config.port_allocation is PortAllocation.PRESERVING
    lowest = _MOVED if is_moved else _RANDOM
    yield from chain(f"try_{name}", "", [f"jump turn_{proto}", take])
    yield from chain(f"guess_{name}", "", [f"jump try_{name}"] * _TRIES)
    if name != proto:
        return  # turned as the others of the protocol are
    # nft 1.0.6 puts numbers into ports in the wrong byte order, and nft 1.1 refuses to: bits are turned, one by one.
    turns = [f"{proto} sport set {proto} sport | {lowest:#x}"]
    for bit in range((_PORTS - lowest).bit_length() - 1):
        # Every try hashes the one before it, so that a run can be repeated.
        hashed = f"jhash ip saddr . {proto} sport mod 2 seed {_HASH_SEED + bit}"
        number = hashed if is_moved and tables.outward else "numgen random mod 2"
        turns.append(f"{number} 1 {proto} sport set {proto} sport ^ {1 << bit:#x}")
    yield from chain(f"turn_{proto}", "", turns)


def _draw(proto: str, name: str, take: str, config: NatConfig) -> Iterator[str]:
    """Some tries anywhere in a range of ports."""
    yield from chain(f"lot_{name}", "", [_port_of("random", proto, config), take])
    yield from chain(f"draw_{name}", "", [f"jump lot_{name}"] * (_ROUNDS * _TRIES))


def _walk(proto: str, name: str, take: str, config: NatConfig) -> Iterator[str]:
    """One port after the other, from where the last walk ended, until one is free or all have been seen."""
    yield from chain(f"step_{name}", "", [_port_of("inc", proto, config), take])
    count = len(_ports(config))
    stride = min(64, count)
    yield from chain(f"stride_{name}", "", [f"jump step_{name}"] * stride)
    yield from chain(f"walk_{name}", "", [f"jump stride_{name}"] * -(-count // stride))


def _port_of(generator: str, proto: str, config: NatConfig) -> str:
    # By way of a map, because nft puts a number into a port in the wrong byte order.
    return f"{proto} sport set numgen {generator} mod {len(_ports(config))} map @ports"


def _ports(config: NatConfig) -> range:
    first, last = config.port_range or _SEQUENCE
    return range(first, last + 1)
