"""Tables of the reference, in Markdown: keys of TOML tables, and of steps by their actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from book.words import type_of
from patchbay_runner.loader.shapes import Key
from patchbay_runner.loader.steps.keys import COMMON_FIELDS
from patchbay_runner.loader.steps.schema import ACTIONS, FIELDS, KEY_ALIASES, Action

_REQUIRED = "required"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Columns that are empty in every row are left out."""
    all_rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    kept = [at for at in range(len(head)) if any(row[at] for row in all_rows)]
    lines = [[head[at] for at in kept], ["---"] * len(kept), *([row[at] for at in kept] for row in all_rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def keys_table(fields: Mapping[str, Key], required: Iterable[str] = ()) -> str:
    """The keys of a table; another name of a key stands beside it."""
    rows = []
    for name, key in fields.items():
        if not key.same_as:
            others = [other for other, same in fields.items() if same.same_as == name]
            default = _REQUIRED if name in required else key.default
            rows.append([_names(name, others), type_of(key), default, key.meaning])
    return table(("key", "type", "default", "meaning"), rows)


def step_table(fields: Mapping[str, Key]) -> str:
    """Keys that steps of any action have."""
    rows = [[_names(name, _older(name)), type_of(key), key.default, key.meaning] for name, key in fields.items()]
    return table(("key", "type", "default", "meaning"), rows)


class _Row(msgspec.Struct, frozen=True):
    """What a key is to an action."""

    name: str
    type: str
    default: str
    meaning: str


def actions_table(names: Sequence[str]) -> str:
    """The keys that some actions have beside the common ones. A row without an action holds for all of them."""
    actions = [ACTIONS[name] for name in names]
    rows: dict[_Row, list[str]] = {}
    for name in FIELDS:
        for action in actions:
            if name in action.keys or name in action.required or name in action.says:
                rows.setdefault(_row(name, action), []).append(action.name)
    cells = [
        [
            "" if len(owners) == len(actions) else _names(*_split(owners)),
            _names(row.name, _older(row.name)),
            *_rest(row),
        ]
        for row, owners in rows.items()
    ]
    return table(("action", "key", "type", "default", "meaning"), cells)


def _row(name: str, action: Action) -> _Row:
    key: Key = FIELDS[name]
    says = action.says.get(name)
    default = key.default if says is None or says.default is None else says.default
    meaning = key.meaning if says is None or says.meaning is None else says.meaning
    if name in COMMON_FIELDS and (says is None or says.meaning is None):
        meaning = "as of every [step](#steps)"
    return _Row(name, type_of(key), _REQUIRED if name in action.required else default, meaning)


def _rest(row: _Row) -> list[str]:
    return [row.type, row.default, row.meaning]


def _older(name: str) -> list[str]:
    return [older for older, newer in KEY_ALIASES.items() if newer == name]


def _split(owners: Sequence[str]) -> tuple[str, Sequence[str]]:
    return owners[0], owners[1:]


def _names(name: str, others: Iterable[str]) -> str:
    return ", ".join(f"`{each}`" for each in (name, *others))
