"""Every action: what may be written, what must be, and who builds the record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean, one_of
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import accepts, described, names_shape
from patchbay_runner.loader.steps import (
    asserting,
    changes,
    controlling,
    generating,
    links,
    processes,
    waiting,
)
from patchbay_runner.loader.steps.draft import Built, Table
from patchbay_runner.loader.steps.keys import ACTION_FIELDS, COMMON_FIELDS, STRUCTURE_FIELDS


class Says(msgspec.Struct, frozen=True):
    """What a key means to one action, where that is not what it means to all; Markdown, None where it is the same."""

    meaning: str | None = None
    default: str | None = None


class Action(msgspec.Struct, frozen=True):
    """`keys` are those beside the common ones; `idle` are common ones that say nothing to this action."""

    name: str
    build: Callable[[Table, Report], Built | None]
    keys: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    says: Mapping[str, Says] = {}


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


FIELDS: dict[str, Any] = {
    "action": described(
        action_name, "what to do; see below", '`"run"` when there is a `cmd`', kind="name of an action"
    ),
    **COMMON_FIELDS,
    **ACTION_FIELDS,
}
COMMON = ("action", *COMMON_FIELDS)
# Read before the schema: what they stand for is in the step by then.
STRUCTURE = tuple(STRUCTURE_FIELDS)

_PROCESS = ("cmd", "args", "cwd", "parser", "captures", "results", "expect_exit")
_SPAWNED = Says("the spawn's; of a counted spawn, or the name of a counted device: all instances")
_STOPPED = {
    "id": _SPAWNED,
    "signal": Says("what is sent first, to the program and every child in its process group", '`"TERM"`'),
}

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("run", processes.build_run, (*_PROCESS, "parallel"), ("device", "cmd")),
        Action("spawn", processes.build_spawn, (*_PROCESS, "ready_after", "ready_when"), ("id", "device", "cmd")),
        Action(
            "wait-for",
            waiting.build_wait_for,
            ("expect_exit",),
            ("id",),
            ("device", "env"),
            {"id": _SPAWNED, "expect_exit": Says(default="the spawn's, else 0")},
        ),
        Action(
            "wait-for-capture",
            waiting.build_wait_for_capture,
            ("capture", "count"),
            ("capture",),
            ("id", "device", "env"),
        ),
        Action(
            "signal",
            controlling.build_signal,
            ("signal", "group"),
            ("id", "signal"),
            ("device", "env", "timeout"),
            {"id": _SPAWNED},
        ),
        Action(
            "stop",
            controlling.build_stop,
            ("signal", "grace", "expect_exit"),
            ("id",),
            ("device", "env", "timeout"),
            _STOPPED | {"expect_exit": Says("how the program must end", '`"any"`')},
        ),
        Action("restart", controlling.build_restart, ("signal", "grace"), ("id",), ("device", "env"), _STOPPED),
        Action("wait", waiting.build_wait, ("duration",), ("duration",), ("device", "env")),
        Action("assert", asserting.build_assert, ("check", "checks", "eventually", "for"), (), ("device", "env")),
        Action(
            "gen-certs",
            generating.build_gen_certs,
            ("cn", "san"),
            ("id",),
            ("env",),
            {"device": Says("the node whose addresses the certificate is for")},
        ),
        Action("gen-file", generating.build_gen_file, ("content",), ("id", "content"), ("env",)),
        Action("link-down", links.build_link_down, ("interface",), ("device", "interface"), ("env",)),
        Action("link-up", links.build_link_up, ("interface",), ("device", "interface"), ("env",)),
        Action(
            "set-default-route",
            links.build_set_default_route,
            ("to",),
            ("device", "to"),
            ("env",),
            {"to": Says("the interface that the default routes leave by from now on")},
        ),
        Action(
            "set-link-condition",
            links.build_set_link_condition,
            ("interface", "condition", "direction"),
            ("device",),
            ("env",),
            {"interface": Says("which link", "the device's first")},
        ),
        Action("set-downlink", links.build_set_downlink, ("router", "condition"), ("router",), ("device", "env")),
        Action("set-uplink", links.build_set_uplink, ("router", "condition"), ("router",), ("device", "env")),
        Action(
            "replug",
            changes.build_replug,
            ("interface", "to"),
            ("device", "to"),
            ("env",),
            {
                "interface": Says(
                    "moves to another LAN: the same hardware address, new addresses; one that is down stays down"
                )
            },
        ),
        Action(
            "add-iface",
            changes.build_add_interface,
            ("interface", "gateway"),
            ("device", "interface", "gateway"),
            ("env",),
            {"interface": Says("a new name, as in [`[device.<name>.<interface>]`](#devicename)")},
        ),
        Action(
            "remove-iface",
            changes.build_remove_interface,
            ("interface",),
            ("device", "interface"),
            ("env",),
            {
                "interface": Says(
                    "goes, but not as the device's last; where it was the default interface, the first that is left is"
                )
            },
        ),
        Action(
            "renew-ip",
            changes.build_renew_address,
            ("interface",),
            ("device",),
            ("env",),
            {"interface": Says("gets new addresses in its LAN, as from a renewed lease; its routes stay")},
        ),
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
