"""The JSON Schemas (draft 2020-12) of sim and topology files, put together from the loader's own tables of keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from patchbay_runner.loader.binaries import BINARY_FIELDS, PREPARE_FIELDS
from patchbay_runner.loader.dns import names
from patchbay_runner.loader.extends import SIM_KEYS, TOPOLOGY_FILE_KEYS
from patchbay_runner.loader.fields import filled_text
from patchbay_runner.loader.provisioning import LAB_FIELDS
from patchbay_runner.loader.regions import REGION_FIELDS
from patchbay_runner.loader.shapes import (
    FILLED_TEXT,
    SCALAR,
    Shape,
    array_shape,
    map_shape,
    object_shape,
    own_keys_shape,
    shape_of,
    table_shape,
)
from patchbay_runner.loader.simtable import SIM_FIELDS
from patchbay_runner.loader.steps.keys import STRUCTURE_FIELDS
from patchbay_runner.loader.steps.schema import ACTIONS, ALIASES, COMMON, FIELDS, KEY_ALIASES, STRUCTURE, Action
from patchbay_runner.loader.topology import DEVICE_FIELDS, INTERFACE_FIELDS, ROUTER_FIELDS

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ACTION_KEYS = ("action", *(older for older, newer in KEY_ALIASES.items() if newer == "action"))


def sim_schema() -> dict[str, Any]:
    """What a sim file may hold, and a file that sims extend."""
    tables = _topology_tables() | {
        "extends": array_shape(table_shape({"file": filled_text}, ["file"])),
        "sim": table_shape(SIM_FIELDS),
        "binary": array_shape(table_shape(BINARY_FIELDS, ["name"])),
        "prepare": array_shape(table_shape(PREPARE_FIELDS)),
        "step-template": array_shape(_step({"name": FILLED_TEXT}, ["name"])),
        "step-group": array_shape(object_shape({"name": FILLED_TEXT, "step": _STEPS}, ["name", "step"])),
        "matrix": own_keys_shape({}, {"anyOf": [array_shape(SCALAR, 1), {"type": "object"}]}),
        "step": _STEPS,
        "on_failure": _STEPS,
    }
    return _document("A patchbay sim", {key: tables.get(key, {}) for key in SIM_KEYS})


def topology_schema() -> dict[str, Any]:
    """What a topology file may hold."""
    return _document("A patchbay topology", _topology_tables())


def _document(title: str, tables: dict[str, Shape]) -> dict[str, Any]:
    definitions = {"step": _complete_step()} if "step" in tables else {}
    document = {"$schema": _DRAFT, "title": title} | object_shape(tables)
    return document | ({"$defs": definitions} if definitions else {})


def _topology_tables() -> dict[str, Shape]:
    interface = table_shape(INTERFACE_FIELDS, ["gateway"])
    tables = {
        "lab": table_shape(LAB_FIELDS),
        "router": array_shape(table_shape(ROUTER_FIELDS, ["name"])),
        "device": map_shape(own_keys_shape(DEVICE_FIELDS, interface)),
        "region": map_shape(table_shape(REGION_FIELDS)),
        "dns": shape_of(names),
    }
    return {key: tables.get(key, {}) for key in TOPOLOGY_FILE_KEYS}


_STEPS = array_shape({"$ref": "#/$defs/step"})


def _step(extra: dict[str, Shape], required: Iterable[str] = ()) -> Shape:
    """The keys of any step, each with what it holds."""
    keys = {key: shape_of(convert) for key, convert in (FIELDS | STRUCTURE_FIELDS).items()}
    keys |= {older: shape_of(FIELDS[newer].alias_of(newer)) for older, newer in KEY_ALIASES.items()}
    return object_shape(keys | extra, required)


def _complete_step() -> Shape:
    """A step that stands in a list of steps: it says what to do, and has the keys of that action and no others."""
    says_what = [{"required": [key]} for key in (*_ACTION_KEYS, "cmd", "use")]
    by_default = {"if": {"not": {"anyOf": [{"required": [key]} for key in (*_ACTION_KEYS, "use")]}}}
    rules = [{"if": _is_action(action), "then": _keys_of(action)} for action in ACTIONS.values()]
    return _step({}) | {"anyOf": says_what, "allOf": [*rules, by_default | {"then": _keys_of(ACTIONS["run"])}]}


def _is_action(action: Action) -> Shape:
    spellings = [action.name, *(older for older, newer in ALIASES.items() if newer == action.name)]
    return {"anyOf": [{"properties": {key: {"enum": spellings}}, "required": [key]} for key in _ACTION_KEYS]}


def _keys_of(action: Action) -> Shape:
    """Its keys in all their spellings; those that it needs may also come from a template."""
    own = {*COMMON, *STRUCTURE, *action.keys}
    allowed = [key for key in (*FIELDS, *STRUCTURE) if key in own]
    allowed += [older for older, newer in KEY_ALIASES.items() if newer in own]
    needed = [key for key in action.required if key not in KEY_ALIASES.values()]
    return {
        "propertyNames": {"enum": allowed},
        "if": {"required": ["use"]},
        "else": {"required": needed} if needed else {},
    }
