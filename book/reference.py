"""The parts of docs/ that code knows better: tables between two marks, written there by `make reference`.

They stand in the pages, and not in the site alone, so that the pages are whole wherever they are read. A test compares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from book import presets
from book.commands import commands_table, options_table
from book.tables import actions_table, keys_table, step_table
from patchbay_runner.loader.binaries import BINARY_FIELDS, PREPARE_FIELDS
from patchbay_runner.loader.capture import CAPTURE_FIELDS as PACKET_CAPTURE_FIELDS
from patchbay_runner.loader.conditions import CONDITION_FIELDS
from patchbay_runner.loader.firewall import FIREWALL_FIELDS
from patchbay_runner.loader.nat import NAT_FIELDS
from patchbay_runner.loader.project import PROJECT_FIELDS
from patchbay_runner.loader.provisioning import LAB_FIELDS
from patchbay_runner.loader.regions import REGION_FIELDS
from patchbay_runner.loader.shapes import Key
from patchbay_runner.loader.simtable import SIM_FIELDS
from patchbay_runner.loader.steps.captures import CAPTURE_FIELDS, RESULT_FIELDS
from patchbay_runner.loader.steps.keys import COMMON_FIELDS, STRUCTURE_FIELDS
from patchbay_runner.loader.steps.readiness import READY_FIELDS
from patchbay_runner.loader.steps.schema import ACTIONS, FIELDS
from patchbay_runner.loader.topology import DEVICE_FIELDS, INTERFACE_FIELDS, ROUTER_FIELDS

# Tables of keys by what the pages call them, with the keys that must be there.
TABLES: dict[str, tuple[Mapping[str, Key], tuple[str, ...]]] = {
    "sim": (SIM_FIELDS, ()),
    "sim.capture": (PACKET_CAPTURE_FIELDS, ()),
    "lab": (LAB_FIELDS, ()),
    "router": (ROUTER_FIELDS, ("name",)),
    "nat": (NAT_FIELDS, ()),
    "firewall": (FIREWALL_FIELDS, ()),
    "device": (DEVICE_FIELDS, ()),
    "interface": (INTERFACE_FIELDS, ("gateway",)),
    "region": (REGION_FIELDS, ()),
    "condition": (CONDITION_FIELDS, ()),
    "binary": (BINARY_FIELDS, ("name",)),
    "prepare": (PREPARE_FIELDS, ()),
    "ready_when": (READY_FIELDS, ()),
    "captures": (CAPTURE_FIELDS, ()),
    "results": (RESULT_FIELDS, ()),
    "patchbay.toml": (PROJECT_FIELDS, ()),
}
STEP = {"action": FIELDS["action"], **COMMON_FIELDS, **STRUCTURE_FIELDS}

BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands_table,
    "step": lambda: step_table(STEP),
    "router presets": presets.router_presets,
    "link presets": presets.link_presets,
    "nat modes": presets.nat_modes,
    "firewall modes": presets.firewall_modes,
}

_BLOCK = re.compile(r"(<!-- generated: ([^>]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def block(name: str) -> str:
    """The table of that name: `keys router`, `actions run spawn`, `options run`, or one of BLOCKS; else a KeyError."""
    first, _, rest = name.partition(" ")
    if first == "keys":
        return keys_table(*TABLES[rest])
    if first == "options":
        return options_table(rest)
    if first == "actions":
        return actions_table([ACTIONS[each].name for each in rest.split()])
    return BLOCKS[name]()


def filled_in(page: str) -> str:
    """A page's Markdown with what code knows as it is now."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{block(found[2])}\n\n{found[3]}", page)


def names_in(page: str) -> list[str]:
    """What of it a page shows."""
    return [found[2] for found in _BLOCK.finditer(page)]


def write(docs: Path) -> list[Path]:
    """Brings every page below `docs` up to date; those that were not."""
    changed = []
    for path in sorted(docs.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (current := filled_in(text)) != text:
            path.write_text(current, encoding="utf-8")
            changed.append(path)
    return changed
