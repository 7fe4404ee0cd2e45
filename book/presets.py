"""Tables of presets and modes, from the records that they stand for."""

from __future__ import annotations

from collections.abc import Iterable

from book.tables import table
from patchbay_runner.model.firewall import FIREWALLS
from patchbay_runner.model.links import PRESET_ALIASES, PRESETS
from patchbay_runner.model.nat import NAT_MODES, NatConfig
from patchbay_runner.model.presets import PRESET_ALIASES as ROUTER_ALIASES
from patchbay_runner.model.presets import PRESETS as ROUTER_PRESETS


def router_presets() -> str:
    """What each preset sets of a router."""
    rows = [
        [
            _named(name, ROUTER_ALIASES),
            *map(_quoted, (p.nat.mode, p.nat_v6.value, p.firewall.mode, p.ip_support.value)),
            _quoted(p.pool.value),
        ]
        for name, p in ROUTER_PRESETS.items()
    ]
    return table(("preset", "`nat`", "`nat_v6`", "`firewall`", "`ip_support`", "`pool`"), rows)


def link_presets() -> str:
    """What each preset does to a link, each way."""
    rows = []
    for name, preset in PRESETS.items():
        rate = f"{preset.rate_kbit / 1000:g}" if preset.rate_kbit else "unlimited"
        figures = (preset.latency_ms, preset.jitter_ms, preset.loss_pct)
        rows.append([_named(name, PRESET_ALIASES), *(f"{figure:g}" for figure in figures), rate])
    return table(("preset", "latency, ms", "jitter, ms", "loss, %", "rate, Mbit/s"), rows)


def nat_modes() -> str:
    """What each mode does, in the terms of RFC 4787."""
    head = ("mode", "mapping", "filtering", "hairpinning", "UDP", "UDP stream", "TCP established")
    return table(head, [[_quoted(name), *_behaviours(config)] for name, config in NAT_MODES.items()])


def firewall_modes() -> str:
    """What each mode lets through."""
    rows = []
    for name, config in FIREWALLS.items():
        inbound = "nothing" if config.block_inbound else "everything"
        ports = [_ports("TCP", config.allow_tcp), _ports("UDP", config.allow_udp)]
        is_open = config.allow_tcp is None and config.allow_udp is None
        rows.append([_quoted(name), inbound, "everything" if is_open else ", ".join([*ports, "other protocols"])])
    return table(("mode", "from outside, unasked", "to outside"), rows)


def _behaviours(config: NatConfig | None) -> list[str]:
    if config is None:
        return ["no translation", "", "", "", "", ""]
    timeouts = config.timeouts
    seconds = (timeouts.udp_s, timeouts.udp_stream_s, timeouts.tcp_established_s)
    hairpin = "yes" if config.hairpin else "no"
    return [config.mapping.value, config.filtering.value, hairpin, *(f"{each:,} s" for each in seconds)]


def _ports(protocol: str, allowed: Iterable[int] | None) -> str:
    return f"all {protocol}" if allowed is None else f"{protocol} {' and '.join(map(str, allowed))}"


def _named(name: str, aliases: dict[str, str]) -> str:
    others = [alias for alias, target in aliases.items() if target == name]
    return _quoted(name) + (f" ({', '.join(map(_quoted, others))})" if others else "")


def _quoted(name: str) -> str:
    return f'`"{name}"`'
