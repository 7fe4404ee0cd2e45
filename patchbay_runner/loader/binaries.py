"""`[[binary]]` and `[[prepare]]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, filled_text, filled_texts, name_choice, read_table
from patchbay_runner.loader.networkchecks import unbuilt_line
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.model.plan import Binary, BinaryMode, Prepare

BINARY_FIELDS: dict[str, Any] = {
    "name": filled_text,
    "mode": name_choice(("path", "fetch", "build", "target")),
    "path": filled_text,
    "url": filled_text,
    "repo": filled_text,
    "commit": filled_text,
    "example": filled_text,
    "bin": filled_text,
    "features": filled_texts,
    "all-features": boolean,
}
PREPARE_FIELDS: dict[str, Any] = {
    "mode": name_choice(("build",)),
    "examples": filled_texts,
    "bins": filled_texts,
    "features": filled_texts,
    "all-features": boolean,
}
# What each mode reads; the rest would be ignored, and is an error instead.
_KEYS = {
    "path": {"path"},
    "fetch": {"url"},
    "target": {"example", "bin"},
    "build": {"path", "repo", "commit", "example", "bin", "features", "all-features"},
}


def binary(node: Node, report: Report) -> Binary | None:
    """The binary, its mode inferred where it is not written."""
    before = len(report.errors)
    values = read_table(node, BINARY_FIELDS, report, "a binary")
    if values is None or "name" not in values or len(report.errors) > before:
        return None
    mode: BinaryMode | None = values.pop("mode", None) or _infer(node, values, report)
    if mode is None:
        return None
    _check_sources(node, mode, values, report)
    if len(report.errors) > before:
        return None
    values["all_features"] = values.pop("all-features", False)
    return Binary(mode=mode, **values)


def prepare(node: Node, report: Report) -> Prepare | None:
    """One `[[prepare]]` entry."""
    before = len(report.errors)
    values = read_table(node, PREPARE_FIELDS, report, "a prepare entry")
    if values is None or len(report.errors) > before:
        return None
    if not values.get("examples") and not values.get("bins"):
        report.error(node, "there is nothing to prepare", '"examples" or "bins"')
        return None
    values["all_features"] = values.pop("all-features", False)
    return Prepare(**values)


def unbuilt(node: Node, found: Binary) -> tuple[str, ...]:
    """What of a binary no later stage provides yet."""
    return () if found.mode == "path" else (unbuilt_line(node, "a binary that is not a path"),)


def _infer(node: Node, values: Mapping[str, Any], report: Report) -> BinaryMode | None:
    modes: dict[str, BinaryMode] = {"path": "path", "url": "fetch", "repo": "build", "example": "build", "bin": "build"}
    sources = [key for key in modes if key in values]
    found = {modes[key] for key in sources}
    if len(found) > 1:
        report.error(node, f"the binary has several sources: {', '.join(sources)}", 'one of them, or a "mode"')
        return None
    if found:
        return found.pop()
    report.error(node, f"the binary {quote(values['name'])} has no source", '"path", "url", "repo", "example" or "bin"')
    return None


def _check_sources(node: Node, mode: str, values: Mapping[str, Any], report: Report) -> None:
    for key in values:
        if key != "name" and key not in _KEYS[mode]:
            report.error(node.value[key], f'{quote(key)} says nothing to a binary of mode "{mode}"')
    if mode in ("path", "fetch") and not _KEYS[mode] & values.keys():
        report.error(node, f'a binary of mode "{mode}" needs {quote(*_KEYS[mode])}')
    targets = {"example", "bin"} & values.keys()
    if len(targets) == 2:
        report.error(node.value["bin"], '"example" is here as well', 'either "example" or "bin"')
    elif not targets and (mode == "target" or "repo" in values or (mode == "build" and "path" not in values)):
        report.error(node, "the binary does not say what to build", '"example" or "bin"')
    if "commit" in values and "repo" not in values and mode == "build":
        report.error(node.value["commit"], '"commit" is for a binary from a repository', '"repo" as well')
