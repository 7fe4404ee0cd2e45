"""The reference of sim files names every key, and its examples load."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from patchbay_runner.loader import binaries, conditions, nat, simtable, topology
from patchbay_runner.loader.steps import captures, schema
from patchbay_runner.model.links import PRESET_ALIASES, PRESETS
from patchbay_runner.model.nat import NAT_MODES
from patchbay_runner.model.presets import PRESET_ALIASES as ROUTER_ALIASES
from patchbay_runner.model.presets import PRESETS as ROUTER_PRESETS
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference" / "toml.md").read_text(encoding="utf-8")
TABLES = {
    "sim": simtable.SIM_FIELDS,
    "router": topology.ROUTER_FIELDS,
    "device": topology.DEVICE_FIELDS,
    "interface": topology.INTERFACE_FIELDS,
    "nat": nat._BEHAVIOURS | nat._FLAT_TIMEOUTS,
    "condition": conditions._ALL_FIELDS,
    "binary": binaries.BINARY_FIELDS,
    "prepare": binaries.PREPARE_FIELDS,
    "capture": captures._CAPTURE_FIELDS,
    "results": captures._RESULT_FIELDS,
    "step": schema.FIELDS,
    "structure": schema.STRUCTURE,
    "aliases": schema.KEY_ALIASES,
    "actions": schema.ACTIONS,
    "action aliases": schema.ALIASES,
}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_in_the_reference(table: str) -> None:
    assert [key for key in TABLES[table] if f"`{key}`" not in REFERENCE] == []


def test_every_preset_and_mode_is_in_the_reference() -> None:
    assert [name for name in (*PRESETS, *PRESET_ALIASES, *NAT_MODES) if f'`"{name}"`' not in REFERENCE] == []


def test_the_first_example_loads(loading: Loading) -> None:
    example = re.findall(r"```toml\n(.*?)```", REFERENCE, re.DOTALL)[0]
    plan = loading.plan(example, network="")
    assert [step.id for step in plan.steps] == ["web", "client"]


def test_the_presets_figures_are_those_of_the_reference() -> None:
    for name, preset in PRESETS.items():
        rate = f"{preset.rate_kbit / 1000:g}" if preset.rate_kbit else "unlimited"
        cells = f"| {preset.latency_ms:g} | {preset.jitter_ms:g} | {preset.loss_pct:g} | {rate} |"
        (row,) = [line for line in REFERENCE.splitlines() if line.startswith(f'| `"{name}"`') and line.count("|") == 6]
        assert row.endswith(cells)


def test_the_presets_of_routers_are_those_of_the_reference() -> None:
    section = REFERENCE.partition("### Presets")[2].partition("###")[0]
    listed = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith('| `"')]
    expected = []
    for name, preset in ROUTER_PRESETS.items():
        aliases = [f' (`"{alias}"`)' for alias, target in ROUTER_ALIASES.items() if target == name]
        modes = (preset.nat.mode, preset.nat_v6.value, preset.firewall.mode, preset.ip_support.value, preset.pool.value)
        expected.append([f'`"{name}"`{"".join(aliases)}', *(f'`"{mode}"`' for mode in modes)])
    assert listed == expected
