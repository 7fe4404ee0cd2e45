"""The table of one step, free of `use` and placeholders, to a draft."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.diagnostics import Report, one_of
from patchbay_runner.loader.fields import require, unknown_key
from patchbay_runner.loader.node import Node, describe, quote, table_of
from patchbay_runner.loader.steps.draft import Draft, Table
from patchbay_runner.loader.steps.schema import ACTIONS, COMMON, FIELDS, KEY_ALIASES, STRUCTURE, Action, action_name

# Keys whose strings may refer to captures, binaries and addresses.
_INTERPOLATED = ("device", "cmd", "args", "env", "ready_when", "content", "san")


def canonical(node: Node, report: Report) -> Node:
    """The table with every key under its newer name."""
    table = table_of(node)
    if not any(older in table for older in KEY_ALIASES):
        return node
    renamed: dict[str, Node] = {}
    for key, child in table.items():
        newer = KEY_ALIASES.get(key, key)
        if newer in renamed:
            report.error(child, f"{quote(key)} says the same as another key of this step", f"{quote(newer)} alone")
        else:
            renamed[newer] = child
    return node.with_value(renamed)


def is_skipped(node: Node) -> bool:
    """Whether the step's `when` says "false"."""
    when = table_of(node).get("when")
    return when is not None and (when.value is False or when.value == "false")


def compile_step(node: Node, report: Report) -> Draft:
    """The draft of a step; a wrong one is reported and carries what could be read."""
    before = len(report.errors)
    action = _action(node, report)
    if action is None:
        return _unreadable(node, report)
    values = _values(node, action, report)
    require(node, values, action.required, report, f"{_article(action.name)} step")
    table = Table(node, action.name, values)
    built = action.build(table, report)
    if len(report.errors) > before or built is None:
        return _broken(table, action)
    _warn_idle(table, action, report)
    return Draft(
        node=node,
        action=action.name,
        id=values.get("id", ""),
        device=values.get("device", ""),
        step=built.step,
        captures=built.captures,
        uses=built.uses,
    )


def check_keys(node: Node, report: Report, *, extra: tuple[str, ...] = ()) -> None:
    """Checks a step that is not used yet, for what is wrong however it is used: its keys, and values that are final."""
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "the table of a step")
        return
    for key, child in canonical(node, report).value.items():
        if key in extra:
            continue
        if key not in FIELDS:
            unknown_key(child, key, _known(), report)
        elif not _has_placeholder(child):
            FIELDS[key](child, report)


def _action(node: Node, report: Report) -> Action | None:
    table = node.value
    if "action" in table:
        name = action_name(table["action"], report)
        return ACTIONS[name] if name is not None else None
    if "cmd" in table:
        return ACTIONS["run"]
    report.error(node, "the step says neither what to run nor what to do", f'"cmd" or "action": {one_of(ACTIONS)}')
    return None


def _values(node: Node, action: Action, report: Report) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, child in node.value.items():
        convert = FIELDS.get(key)
        if convert is None:
            unknown_key(child, key, (*COMMON, *STRUCTURE, *action.keys), report)
        elif key not in COMMON and key not in action.keys:
            expected = one_of(action.keys)
            report.error(child, f"{quote(key)} says nothing to {_article(action.name)} step", expected)
        else:
            value = convert(child, report)
            if value is not None:
                values[key] = value
    return values


def _known() -> tuple[str, ...]:
    return (*FIELDS, *STRUCTURE)


def _unreadable(node: Node, report: Report) -> Draft:
    """Also without an action the keys are checked, so that all problems come at once."""
    for key, child in node.value.items():
        if key not in FIELDS:
            unknown_key(child, key, _known(), report)
        elif key != "action":
            FIELDS[key](child, report)
    return Draft(node=node, id=_readable_id(node))


def _broken(table: Table, action: Action) -> Draft:
    return Draft(
        node=table.node,
        action=action.name,
        id=table.get("id", _readable_id(table.node)),
        device=table.get("device", ""),
        uses=tuple(table.uses_in(*(key for key in _INTERPOLATED if key in table.values))),
    )


def _readable_id(node: Node) -> str:
    child = table_of(node).get("id")
    return child.value if child is not None and isinstance(child.value, str) and "$" not in child.value else ""


def _warn_idle(table: Table, action: Action, report: Report) -> None:
    for key in action.idle:
        if table.has(key):
            report.warn(table.at(key), f"{quote(key)} has no effect on {_article(action.name)} step")


def _article(action: str) -> str:
    return f"an {action}" if action[0] in "aeiou" else f"a {action}"


def _has_placeholder(node: Node) -> bool:
    value = node.value
    if isinstance(value, str):
        return "${matrix." in value or "${group." in value
    if isinstance(value, dict):
        return any(_has_placeholder(child) for child in value.values())
    return isinstance(value, tuple) and any(_has_placeholder(child) for child in value)
