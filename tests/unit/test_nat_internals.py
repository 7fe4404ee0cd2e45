"""docs/internals/nat-in-nftables.md shows rules that the code writes, as it writes them."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from patchbay_runner.lab.firewall import firewall_ruleset
from patchbay_runner.lab.nat import NatPlacement, nat_ruleset
from patchbay_runner.model.firewall import FIREWALLS
from patchbay_runner.model.nat import NAT_MODES

PLACE = NatPlacement("ix", IPv4Address("198.18.0.11"), "lan", (IPv4Network("10.0.1.0/24"),))


def section(text: str, heading: str) -> list[str]:
    """The rules that a section shows."""
    (body,) = re.findall(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    blocks = re.findall(r"^```nft\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def written(mode: str) -> set[str]:
    config = NAT_MODES[mode]
    assert config is not None
    return {line.strip() for line in nat_ruleset(config, PLACE).splitlines()}


def test_rules_that_are_explained_are_those_that_are_written(checkout: Path) -> None:
    page = (checkout / "docs" / "internals" / "nat-in-nftables.md").read_text(encoding="utf-8")
    config = FIREWALLS["corporate"]
    firewall = {line.strip() for line in firewall_ruleset(config, "ix").splitlines()}
    for heading, rules in {
        "Endpoint-dependent: `corporate`, `cloud-nat`": written("corporate"),
        "Endpoint-independent mapping: `home`": written("home"),
        "Open filters: `cgnat`, `full-cone`": written("full-cone"),
        "Firewalls": firewall,
    }.items():
        shown = section(page, heading)
        assert len(shown) > 1, heading
        assert [line for line in shown if line not in rules] == []
