"""`captures` and `results` of a process step."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import choice, filled_text, name_choice, read_table
from patchbay_runner.loader.node import Node, describe, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, described, map_shape, table_shape
from patchbay_runner.loader.steps.draft import Table, Use
from patchbay_runner.model import picks
from patchbay_runner.model.patterns import compile_pattern
from patchbay_runner.model.steps import Capture, ResultKeys, Scalar

# Recorded for every process step.
IMPLICIT = ("exit_code", "elapsed_s")
_RESULTS = ("duration", "up_bytes", "down_bytes", "latency_ms")


def captures(node: Node, report: Report) -> tuple[Capture, ...] | None:
    """The table of captures, by name."""
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", "a table of captures, such as [step.captures.size]")
        return None
    before = len(report.errors)
    found = [_capture(name, child, report) for name, child in node.value.items()]
    if len(report.errors) > before:
        return None
    return tuple([capture for capture in found if capture is not None])


def results(node: Node, report: Report) -> ResultKeys | None:
    """The table of normalised results."""
    values = read_table(node, RESULT_FIELDS, report, "results")
    return None if values is None else ResultKeys(**values)


def check_parser(table: Table, report: Report) -> None:
    """A capture may only ask for what the step's parser can do."""
    if table.get("parser", "text") != "text" or not isinstance(table.get("captures"), tuple):
        return
    for capture in table.get("captures"):
        entry = table.at("captures").value[capture.name]
        for key in ("match", "pick"):
            if key in entry.value:
                expected = 'parser = "ndjson" or "json", or a "regex"'
                report.error(entry.value[key], f'"{key}" reads JSON, and the parser of this step is "text"', expected)


def result_uses(table: Table) -> list[Use]:
    """The captures that the results name; `.name` is the step's own."""
    keys = table.get("results")
    if keys is None:
        return []
    nodes = table.at("results").value
    return [Use("result", getattr(keys, name), nodes[name]) for name in _RESULTS if getattr(keys, name) is not None]


def _capture(name: str, node: Node, report: Report) -> Capture | None:
    if not name or any(char in ".${}" or char.isspace() for char in name):
        report.error(node, f"{quote(name)} cannot name a capture", "a name without dots, blanks, $ and braces")
    if name in IMPLICIT:
        report.error(node, f"every process step records {quote(name)} itself", "another name")
    values = read_table(node, CAPTURE_FIELDS, report, "a capture")
    if values is None:
        return None
    if "match" in node.value and "pick" not in node.value:
        report.error(node.value["match"], '"match" says which lines to read and nothing says what to take', '"pick"')
    elif "pick" not in node.value and "regex" not in node.value:
        report.error(node, "the capture takes nothing", '"regex" or "pick"')
    return Capture(name=name, **values)


@accepts(FILLED_TEXT)
def _regex(node: Node, report: Report) -> str | None:
    pattern = filled_text(node, report)
    if pattern is None:
        return None
    try:
        compile_pattern(pattern)
    except ValueError as error:
        report.error(node, f"bad regular expression {quote(pattern)}: {error}")
        return None
    return pattern


@accepts(map_shape({"type": ["string", "number", "boolean", "object"]}))
def _match(node: Node, report: Report) -> dict[str, Scalar] | None:
    if not isinstance(node.value, dict):
        report.error(node, f"found {describe(node)}", 'a table such as { kind = "Done" }')
        return None
    match: dict[str, Scalar] = {}
    before = len(report.errors)
    _flatten(node, "", match, report)
    return match if len(report.errors) == before else None


def _flatten(node: Node, path: str, match: dict[str, Scalar], report: Report) -> None:
    """Nested tables and dotted keys mean the same."""
    for key, child in node.value.items():
        dotted = f"{path}.{key}" if path else key
        if isinstance(child.value, dict):
            _flatten(child, dotted, match, report)
        elif not isinstance(child.value, str | int | float):
            report.error(child, f"found {describe(child)}", "a string, a number or a boolean")
        elif "" in dotted.split("."):
            report.error(child, f"the key {quote(dotted)} has an empty part")
        elif dotted in match:
            report.error(child, f"{quote(dotted)} is matched already")
        else:
            match[dotted] = child.value


@accepts(FILLED_TEXT)
def _pick(node: Node, report: Report) -> str | None:
    if not isinstance(node.value, str):
        report.error(node, f"found {describe(node)}", 'a string such as ".size"')
        return None
    problem = _pick_problem(node.value)
    if problem:
        report.error(node, f"bad pick: {problem}", 'a path such as ".end.bytes" or a JSONPath such as "$.items[0].id"')
        return None
    return node.value


@lru_cache(maxsize=65_536)
def _pick_problem(text: str) -> str:
    try:
        pick = picks.parse_pick(text)
    except ValueError as error:
        return str(error)
    return _json_path_problem(pick.text) if isinstance(pick, picks.JsonPath) else ""


def _json_path_problem(text: str) -> str:
    try:
        picks.compile_json_path(text)
    except ValueError as error:
        return f"{quote(text)} is not a JSONPath: {error}"
    return ""


@accepts(FILLED_TEXT)
def _result_key(node: Node, report: Report) -> str | None:
    key = filled_text(node, report)
    if key is not None and ("." not in key or key.endswith(".")):
        report.error(node, f"found {quote(key)}", '"step.capture", or ".capture" for the step\'s own')
        return None
    return key


CAPTURE_FIELDS: dict[str, Any] = {
    "pipe": described(name_choice(("stdout", "stderr")), "which output is read", '`"stdout"`'),
    "regex": described(
        _regex,
        "searched for in every line, with any parser; group 1 is the value, or the whole match. Python's syntax",
    ),
    "match": described(
        _match,
        "what a JSON value must hold: strings, numbers and booleans under keys, dotted or nested. Needs `pick`",
        kind="table",
    ),
    "pick": described(
        _pick,
        'the value to take: a path such as `".end.streams.0.bytes"`, or a JSONPath when it starts with `$`. Needs '
        '`parser = "ndjson"` or `"json"`',
    ),
}
RESULT_FIELDS: dict[str, Any] = {
    "duration": described(_result_key, "how long the transfer or the test took"),
    "duration_unit": described(
        choice({unit: unit for unit in ("s", "ms", "us")}),
        "the unit of `duration`",
        "microseconds for an integer, seconds for a decimal",
    ),
    "up_bytes": described(_result_key, "bytes sent"),
    "down_bytes": described(_result_key, "bytes received"),
    "latency_ms": described(_result_key, "latency in milliseconds"),
}

accepts(map_shape(table_shape(CAPTURE_FIELDS)))(captures)
accepts(table_shape(RESULT_FIELDS))(results)
