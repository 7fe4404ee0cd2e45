"""NAT rule text: what each behaviour needs and nothing else, whole and replaceable. Packets prove what it does."""

from __future__ import annotations

import itertools
import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from patchbay_runner.lab.nat import NAT_TABLE, NatPlacement, nat_ruleset, nat_sysctls
from patchbay_runner.model.nat import NAT_MODES, Filtering, Mapping, NatConfig, NatTimeouts, PortAllocation, nat_mode

PLACEMENT = NatPlacement(
    "uplink0", IPv4Address("198.18.0.77"), "bridge0", (IPv4Network("10.0.9.0/24"), IPv4Network("198.18.5.0/24"))
)
EVERY_CONFIG = [
    NatConfig(mapping, filtering, hairpin, NatTimeouts(*timeouts))
    for mapping, filtering, hairpin, timeouts in itertools.product(
        Mapping, Filtering, (False, True), [(30, 120, 432_000), (2, 2, 2), (30, 300, 121)]
    )
]
EIM, EDM = Mapping.ENDPOINT_INDEPENDENT, Mapping.ENDPOINT_DEPENDENT
EIF, ADF = Filtering.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT
APDF = Filtering.ADDRESS_AND_PORT_DEPENDENT


def tables(ruleset: str) -> set[str]:
    return set(re.findall(r"^  (?:map|set) (\w+) \{", ruleset, re.MULTILINE))


def rules(ruleset: str, chain: str) -> list[str]:
    found = re.search(rf"^  chain {chain} \{{\n(.*?)^  \}}", ruleset, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [line.strip() for line in found[1].splitlines()]


@pytest.mark.parametrize("config", EVERY_CONFIG)
def test_everything_that_is_referred_to_is_declared_once(config: NatConfig) -> None:
    ruleset = nat_ruleset(config, PLACEMENT)
    chains = re.findall(r"^  chain (\w+) \{", ruleset, re.MULTILINE)
    assert len(chains) == len(set(chains))
    assert set(re.findall(r"(?:jump|goto) (\w+)", ruleset)) <= set(chains)
    assert set(re.findall(r"@(\w+)", ruleset)) == tables(ruleset)
    assert ruleset.count("{") == ruleset.count("}")


@pytest.mark.parametrize("config", EVERY_CONFIG)
def test_rules_concern_ipv4_alone_and_leave_the_name_nat_to_iptables(config: NatConfig) -> None:
    ruleset = nat_ruleset(config, PLACEMENT)
    assert ruleset.startswith(f"table ip {NAT_TABLE} {{\n")
    assert NAT_TABLE != "nat"
    assert "ip6" not in ruleset


@pytest.mark.parametrize(
    ("mapping", "filtering", "hairpin", "needed"),
    [
        (EDM, APDF, False, set()),
        (EIM, APDF, False, {"out", "used", "stream"}),
        (EIM, EIF, False, {"out", "in", "used", "stream"}),
        (EIM, ADF, False, {"out", "in", "used", "stream", "peers"}),
        (EIM, APDF, True, {"out", "in", "used", "stream", "peers"}),
        (EDM, EIF, True, {"in", "used", "stream"}),
        (EDM, ADF, False, {"in", "used", "stream", "peers"}),
    ],
)
def test_a_behaviour_has_the_tables_that_it_needs(
    mapping: Mapping, filtering: Filtering, hairpin: bool, needed: set[str]
) -> None:
    assert tables(nat_ruleset(NatConfig(mapping, filtering, hairpin), PLACEMENT)) == needed


@pytest.mark.parametrize("ports", [{"allocation": PortAllocation.SEQUENTIAL}, {"port_range": (50_000, 50_001)}])
def test_allocated_ports_are_remembered(ports: dict[str, Any]) -> None:
    assert tables(nat_ruleset(NatConfig(EDM, **ports), PLACEMENT)) == {"used", "stream", "ports"}


def test_one_timeout_for_all_udp_needs_no_distinction() -> None:
    assert "stream" not in tables(nat_ruleset(NatConfig(timeouts=NatTimeouts(60, 60)), PLACEMENT))


@pytest.mark.parametrize("config", EVERY_CONFIG)
def test_unknown_flows_enter_where_filtering_and_hairpinning_say(config: NatConfig) -> None:
    entrances = [re.findall(r'iifname "(\w+)"', rule) for rule in rules(nat_ruleset(config, PLACEMENT), "prerouting")]
    expected = [["uplink0"]] if config.filtering is not APDF else []
    expected += [["bridge0"]] if config.hairpin else []
    assert entrances == [[], *expected]


@pytest.mark.parametrize("config", [config for config in EVERY_CONFIG if config.hairpin])
def test_hairpinning_translates_the_sources_behind_the_router_alone(config: NatConfig) -> None:
    inward = [rule for rule in rules(nat_ruleset(config, PLACEMENT), "source_nat") if '"bridge0"' in rule]
    assert inward
    assert all("ip saddr { 10.0.9.0/24, 198.18.5.0/24 }" in rule for rule in inward)


@pytest.mark.parametrize("config", EVERY_CONFIG)
def test_entries_live_as_long_as_conntracks(config: NatConfig) -> None:
    ruleset = nat_ruleset(config, PLACEMENT)
    kept = {int(seconds) for seconds in re.findall(r"timeout (\d+)s [:}]", ruleset)}
    times = config.timeouts
    transitory = min(240, times.tcp_established_s)
    used = {times.udp_s, times.udp_stream_s, times.tcp_established_s, transitory}
    assert kept == (used if tables(ruleset) else set())


def test_sysctls_are_those_of_the_configuration() -> None:
    settings = nat_sysctls(NatConfig(timeouts=NatTimeouts(11, 22, 33)))
    assert settings["netfilter/nf_conntrack_udp_timeout"] == "11"
    assert settings["netfilter/nf_conntrack_udp_timeout_stream"] == "22"
    assert settings["netfilter/nf_conntrack_tcp_timeout_established"] == "33"
    assert settings["netfilter/nf_conntrack_tcp_loose"] == "0"
    assert settings["netfilter/nf_conntrack_tcp_be_liberal"] == "1"


@pytest.mark.parametrize(
    ("mode", "mapping", "filtering", "hairpin", "timeouts"),
    [
        ("home", EIM, APDF, False, (30, 300, 7200)),
        ("corporate", EDM, APDF, False, (30, 120, 3600)),
        ("cloud-nat", EDM, APDF, False, (30, 350, 3600)),
        ("cgnat", EIM, EIF, False, (30, 120, 432_000)),
        ("full-cone", EIM, EIF, True, (30, 300, 7200)),
    ],
)
def test_named_modes(
    mode: str, mapping: Mapping, filtering: Filtering, hairpin: bool, timeouts: tuple[int, int, int]
) -> None:
    assert nat_mode(mode).config == NatConfig(mapping, filtering, hairpin, NatTimeouts(*timeouts))


def test_every_named_mode_is_spelled_out_above() -> None:
    assert set(NAT_MODES) == {"none", "home", "corporate", "cloud-nat", "cgnat", "full-cone"}
