"""Every key of a step and every action: what may be written, what must be, and who builds the record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from patchbay_runner.loader.conditions import condition
from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.dns import step_entries
from patchbay_runner.loader.fields import (
    array,
    boolean,
    choice,
    duration,
    filled_text,
    filled_texts,
    integer,
    name_choice,
    positive_duration,
    text,
    text_table,
    texts,
)
from patchbay_runner.loader.firewall import firewall
from patchbay_runner.loader.names import is_step_id
from patchbay_runner.loader.nat import nat
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, SCALAR, accepts, names_shape
from patchbay_runner.loader.steps import (
    asserting,
    captures,
    changes,
    controlling,
    generating,
    links,
    processes,
    readiness,
    waiting,
)
from patchbay_runner.loader.steps.draft import Built, Table
from patchbay_runner.model.topology import NatV6


class Action(msgspec.Struct, frozen=True):
    """`keys` are those beside the common ones; `idle` are common ones that say nothing to this action."""

    name: str
    build: Callable[[Table, Report], Built | None]
    keys: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()


def action_name(node: Node, report: Report) -> str | None:
    """The action, an alias resolved."""
    if not isinstance(node.value, str):
        report.error(node, f"found {describe(node)}", "the name of an action")
        return None
    name = ALIASES.get(node.value, node.value)
    if name not in ACTIONS:
        report.error(node, f"unknown action {quote(node.value)}{did_you_mean(node.value, ACTIONS)}", one_of(ACTIONS))
        return None
    return name


@accepts(FILLED_TEXT)
def step_id(node: Node, report: Report) -> str | None:
    """An id that can stand in `${id.capture}`."""
    name = filled_text(node, report)
    if name is not None and not is_step_id(name):
        expected = 'at most 200 letters, digits, "_", "-" and ".", and not "binary", "matrix" or "group"'
        report.error(node, f"{quote(name)} cannot be a step's id", expected)
        return None
    return name


@accepts(FILLED_TEXT)
def capture_key(node: Node, report: Report) -> str | None:
    key = filled_text(node, report)
    if key is None:
        return None
    key = key.removeprefix("${").removesuffix("}")
    if "." not in key.strip("."):
        report.error(node, f"{quote(key)} is not a capture", '"step.capture"')
        return None
    return key


@accepts(SCALAR)
def _when(node: Node, report: Report) -> bool | None:
    """False skips the step. Any other value runs it."""
    if not isinstance(node.value, str | int | float):
        report.error(node, f"found {describe(node)}", 'a string or a boolean; "false" skips the step')
        return None
    return node.value is not False and node.value != "false"


# A key means the same in every action that has it.
FIELDS: dict[str, Any] = {
    "action": action_name,
    "id": step_id,
    "device": filled_text,
    "env": text_table,
    "requires": array(capture_key, "captures"),
    "when": _when,
    "timeout": positive_duration,
    "cmd": texts,
    "args": texts,
    "cwd": filled_text,
    "parser": name_choice(("text", "ndjson", "json")),
    "captures": captures.captures,
    "results": captures.results,
    "expect_exit": processes.expected_exit,
    "parallel": filled_text,
    "ready_after": duration,
    "ready_when": readiness.readiness,
    "duration": duration,
    "check": asserting.assertion,
    "checks": asserting.assertion_list,
    "eventually": positive_duration,
    "for": positive_duration,
    "capture": capture_key,
    "count": integer(1, 1_000_000_000),
    "signal": controlling.signal_number,
    "group": boolean,
    "grace": duration,
    "interface": filled_text,
    "to": filled_text,
    "gateway": filled_text,
    "router": filled_text,
    "nat": nat,
    "nat_v6": choice({mode.value: mode for mode in NatV6}),
    "down_for": positive_duration,
    "firewall": firewall,
    "regions": changes.region_pair,
    "entries": step_entries,
    "condition": condition,
    "direction": name_choice(("up", "down", "both")),
    "cn": filled_text,
    "san": filled_texts,
    "content": text,
}
COMMON = ("action", "id", "device", "env", "requires", "when", "timeout")
# Read before the schema: what they stand for is in the step by then.
STRUCTURE = ("use", "vars")

_PROCESS = ("cmd", "args", "cwd", "parser", "captures", "results", "expect_exit")

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("run", processes.build_run, (*_PROCESS, "parallel"), ("device", "cmd")),
        Action("spawn", processes.build_spawn, (*_PROCESS, "ready_after", "ready_when"), ("id", "device", "cmd")),
        Action("wait-for", waiting.build_wait_for, ("expect_exit",), ("id",), ("device", "env")),
        Action(
            "wait-for-capture",
            waiting.build_wait_for_capture,
            ("capture", "count"),
            ("capture",),
            ("id", "device", "env"),
        ),
        Action("signal", controlling.build_signal, ("signal", "group"), ("id", "signal"), ("device", "env", "timeout")),
        Action(
            "stop", controlling.build_stop, ("signal", "grace", "expect_exit"), ("id",), ("device", "env", "timeout")
        ),
        Action("restart", controlling.build_restart, ("signal", "grace"), ("id",), ("device", "env")),
        Action("wait", waiting.build_wait, ("duration",), ("duration",), ("device", "env")),
        Action("assert", asserting.build_assert, ("check", "checks", "eventually", "for"), (), ("device", "env")),
        Action("gen-certs", generating.build_gen_certs, ("cn", "san"), ("id",), ("env",)),
        Action("gen-file", generating.build_gen_file, ("content",), ("id", "content"), ("env",)),
        Action("link-down", links.build_link_down, ("interface",), ("device", "interface"), ("env",)),
        Action("link-up", links.build_link_up, ("interface",), ("device", "interface"), ("env",)),
        Action("set-default-route", links.build_set_default_route, ("to",), ("device", "to"), ("env",)),
        Action(
            "set-link-condition",
            links.build_set_link_condition,
            ("interface", "condition", "direction"),
            ("device",),
            ("env",),
        ),
        Action("set-downlink", links.build_set_downlink, ("router", "condition"), ("router",), ("device", "env")),
        Action("set-uplink", links.build_set_uplink, ("router", "condition"), ("router",), ("device", "env")),
        Action("replug", changes.build_replug, ("interface", "to"), ("device", "to"), ("env",)),
        Action(
            "add-iface",
            changes.build_add_interface,
            ("interface", "gateway"),
            ("device", "interface", "gateway"),
            ("env",),
        ),
        Action("remove-iface", changes.build_remove_interface, ("interface",), ("device", "interface"), ("env",)),
        Action("renew-ip", changes.build_renew_address, ("interface",), ("device",), ("env",)),
        Action("set-nat", changes.build_set_nat, ("router", "nat"), ("router", "nat"), ("device", "env")),
        Action("set-nat-v6", changes.build_set_nat_v6, ("router", "nat_v6"), ("router", "nat_v6"), ("device", "env")),
        Action("reboot-router", changes.build_reboot_router, ("router", "down_for"), ("router",), ("device", "env")),
        Action("flush-nat", changes.build_flush_nat, ("router",), ("router",), ("device", "env")),
        Action(
            "set-firewall",
            changes.build_set_firewall,
            ("router", "firewall"),
            ("router", "firewall"),
            ("device", "env"),
        ),
        Action("break-region-link", changes.build_break_region_link, ("regions",), ("regions",), ("device", "env")),
        Action("restore-region-link", changes.build_restore_region_link, ("regions",), ("regions",), ("device", "env")),
        Action("set-dns", changes.build_set_names, ("entries",), ("entries",), ("env",)),
    )
}
ALIASES = {"set-impair": "set-link-condition"}
KEY_ALIASES = {"kind": "action", "impair": "condition", "link_condition": "condition"}

accepts(names_shape((*ACTIONS, *ALIASES)))(action_name)
