"""Every key of a step: how it is read, and what it means wherever an action does not say otherwise."""

from __future__ import annotations

from typing import Any

from patchbay_runner.loader.conditions import condition
from patchbay_runner.loader.diagnostics import Report
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
from patchbay_runner.loader.shapes import FILLED_TEXT, SCALAR, accepts, described, map_shape
from patchbay_runner.loader.steps import asserting, captures, changes, controlling, processes, readiness
from patchbay_runner.model.topology import NatV6


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


@accepts(map_shape(SCALAR))
def variables(node: Node, report: Report) -> Any:
    """What a group is called with, which the group's steps read."""
    return node.value


COMMON_FIELDS: dict[str, Any] = {
    "id": described(
        step_id,
        "names the step: letters, digits, `_`, `-` and `.`. A second `run` without an id on a device is `<device>-2`, "
        "and so on",
        "for `run`, the device's name",
    ),
    "device": described(
        filled_text,
        "where: a device, an instance of a counted one, a router, a region's router (`region_<name>`), or `ix`. May "
        "hold [references](#references)",
    ),
    "requires": described(array(capture_key, "captures"), 'captures (`"step.capture"`) to wait for first'),
    "timeout": described(
        positive_duration,
        "how long captures and processes are waited for; a `run` is not bounded unless this is written",
        "300 s",
    ),
    "when": described(
        _when,
        '`"false"` or `false` leaves the step out. Looked at after the matrix and groups are filled in',
        "`true`",
        kind="string or boolean",
    ),
    "env": described(text_table, "environment variables of the program; numbers become text", kind="table of strings"),
}
STRUCTURE_FIELDS: dict[str, Any] = {
    "use": described(filled_text, "the name of a [template](#templates) or a [group](#groups)"),
    "vars": described(variables, "the variables of a [group](#groups)", kind="table"),
}
# A key is read in the same way in every action that has it.
ACTION_FIELDS: dict[str, Any] = {
    "cmd": described(texts, "the program and its arguments"),
    "args": described(texts, "appended to `cmd`"),
    "cwd": described(filled_text, "where the program starts, relative to the project root", "the project root"),
    "parser": described(
        name_choice(("text", "ndjson", "json")),
        "how the output is read: by line, as JSON by line, or as one JSON document at its end (a program that fails "
        "need not write one)",
        '`"text"`',
    ),
    "captures": described(
        captures.captures, "what to take from the output; see [captures](#captures)", kind="table of tables"
    ),
    "results": described(captures.results, "what the reports show; see [results](#results)", kind="table"),
    "expect_exit": described(
        processes.expected_exit,
        "the exit code that is success; a negative number is a signal",
        "0",
        kind='integer or `"any"`',
    ),
    "parallel": described(filled_text, "names the steps that run at the same time; see below"),
    "ready_when": described(
        readiness.readiness, "what to wait for after the start; see below", "at once", kind="table"
    ),
    "ready_after": described(duration, "a pause after the program is ready", "0 s"),
    "duration": described(duration, "how long to sleep"),
    "check": described(asserting.assertion, "an expression that must hold; see [assertions](#assertions)"),
    "checks": described(asserting.assertion_list, "more such expressions", kind="array of strings"),
    "eventually": described(
        positive_duration,
        "for how long they need not hold yet; looked at again after every value that is captured, and a capture "
        "without a value does not hold",
        "at once",
    ),
    "for": described(
        positive_duration,
        "how long they must hold together, without any value in between for which they do not. With `eventually` too, "
        "such a time must begin before that is over",
        "a moment",
    ),
    "capture": described(capture_key, '`"step.capture"`; of a counted step, that of every instance'),
    "count": described(
        integer(1, 1_000_000_000), "how often it must have been recorded, from the start of the sim", "1"
    ),
    "signal": described(controlling.signal_number, '`"HUP"`, `"SIGHUP"` or `1`', kind="name or number of a signal"),
    "group": described(boolean, "to the children in its process group too, not to the program alone", "`false`"),
    "grace": described(duration, "how long they have to end before what is left gets SIGKILL", "5 s"),
    "interface": described(filled_text, "an interface of the device", "the device's default interface"),
    "to": described(filled_text, "the router that it is plugged into"),
    "gateway": described(filled_text, "the router whose LAN it is plugged into; the default route stays where it is"),
    "router": described(filled_text, "a router"),
    "nat": described(
        nat,
        "how it translates IPv4 addresses from now on, as a router's [`nat`](#nat). Mappings are forgotten; flows that "
        "the kernel tracks go on until `flush-nat`",
        kind="mode or table",
    ),
    "nat_v6": described(
        choice({mode.value: mode for mode in NatV6}),
        "how it translates IPv6 addresses from now on, as a router's "
        "[`nat_v6`](nat-v6.md#changing-it-while-a-sim-runs). The LAN keeps its prefix",
    ),
    "down_for": described(positive_duration, "how long it is away", "500 ms"),
    "firewall": described(
        firewall,
        "what it lets through from now on, as a router's [`firewall`](#firewalls). Flows that it knows pass until they "
        "end",
        kind="mode or table",
    ),
    "regions": described(
        changes.region_pair,
        "the two regions, in any order; one has a latency to the other",
        kind="array of two strings",
    ),
    "entries": described(
        step_entries,
        "names and what they stand for from now on, as in `[dns]`; references are filled in; an empty array takes an "
        "entry away, and what it had replaced is back",
        kind="table of names",
    ),
    "condition": described(
        condition, "see [link conditions](#link-conditions)", "none: clears", kind="preset or table"
    ),
    "direction": described(
        name_choice(("up", "down", "both")),
        "what the device sends, what it receives, or both",
        '`"up"`; `"both"` when clearing',
    ),
    "cn": described(filled_text, "the common name", '`"patchbay"`'),
    "san": described(filled_texts, "further addresses and names"),
    "content": described(text, "what to write, references filled in"),
}
