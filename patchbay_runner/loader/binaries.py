"""`[[binary]]` and `[[prepare]]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.fields import boolean, filled_text, filled_texts, name_choice, read_table
from patchbay_runner.loader.node import Node, quote
from patchbay_runner.loader.shapes import FILLED_TEXT, accepts, described, one_shape_of
from patchbay_runner.model.plan import Binary, BinaryMode, Prepare

_SHA256 = re.compile(r"[0-9a-f]{64}")


@accepts(one_shape_of({"type": "string", "pattern": r"^[Hh][Tt][Tt][Pp][Ss]?://"}))
def url(node: Node, report: Report) -> str | None:
    """An address of HTTP."""
    value = filled_text(node, report)
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(char.isspace() for char in value):
        hint = '; for a file on this machine, "path"' if value.startswith(("file:", "/", ".")) else ""
        report.error(node, f"found {quote(value)}", f"an http:// or https:// address{hint}")
        return None
    return value


@accepts(one_shape_of({"type": "string", "pattern": r"^\s*[0-9A-Fa-f]{64}\s*$"}))
def sha256(node: Node, report: Report) -> str | None:
    """A SHA-256 in hexadecimal, as `sha256sum` prints it."""
    value = filled_text(node, report)
    if value is not None and not _SHA256.fullmatch(value.strip().lower()):
        report.error(node, f"found {quote(value)}", "64 hexadecimal digits, as sha256sum prints them")
        return None
    return value and value.strip().lower()


@accepts(FILLED_TEXT)
def no_option(node: Node, report: Report) -> str | None:
    """What git takes for a name and never for an option."""
    value = filled_text(node, report)
    if value is not None and value.startswith("-"):
        report.error(node, f"found {quote(value)}", 'a name that does not begin with "-"')
        return None
    return value


_FEATURES = described(filled_texts, "Cargo features to build with")
_ALL_FEATURES = described(boolean, "builds with all Cargo features", "`false`")
BINARY_FIELDS: dict[str, Any] = {
    "name": described(filled_text, "what `${binary.<name>}` calls it: without blanks, `$` and braces"),
    "mode": described(
        name_choice(("path", "fetch", "build", "target")),
        "how to get it; see [where programs come from](../commands/prepare.md#where-programs-come-from)",
        "inferred: `path`; `url` fetches; `repo`, `example`, `bin` build",
    ),
    "path": described(
        filled_text,
        'a program; `target:` in front looks below the Cargo target directory. With `mode = "build"`, '
        "a source directory",
    ),
    "url": described(
        url,
        "an `http://` or `https://` address to download: a program, or a `.tar.gz`, `.tar.xz` or `.zip` file with it",
    ),
    "sha256": described(sha256, "the SHA-256 that the downloaded file must have, as `sha256sum` prints it"),
    "repo": described(no_option, "a Git repository, also a path; with `example` or `bin`"),
    "commit": described(no_option, "the branch, tag or commit of `repo`", '`"main"`'),
    "example": described(filled_text, 'the Cargo example to build, or to find with `mode = "target"`'),
    "bin": described(
        filled_text,
        'the Cargo binary to build, or to find with `mode = "target"`. With `url`, the program\'s name in the archive, '
        "the binary's unless written",
    ),
    "features": _FEATURES,
    "all-features": _ALL_FEATURES,
}
PREPARE_FIELDS: dict[str, Any] = {
    "mode": described(name_choice(("build",)), "the only one there is", '`"build"`'),
    "examples": described(filled_texts, "the Cargo examples to build"),
    "bins": described(filled_texts, "the Cargo binaries to build"),
    "features": _FEATURES,
    "all-features": _ALL_FEATURES,
}
# What each mode reads; the rest would be ignored, and is an error instead.
_KEYS = {
    "path": {"path"},
    "fetch": {"url", "sha256", "bin"},
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
    return Binary(mode=mode, origin=node.origin, **values)


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
    return Prepare(origin=node.origin, **values)


def _infer(node: Node, values: Mapping[str, Any], report: Report) -> BinaryMode | None:
    modes: dict[str, BinaryMode] = {"path": "path", "url": "fetch", "repo": "build", "example": "build", "bin": "build"}
    sources = [key for key in modes if key in values and not (key == "bin" and "url" in values)]
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
    needed = {"path": "path", "fetch": "url"}.get(mode)
    if needed and needed not in values:
        report.error(node, f'a binary of mode "{mode}" needs {quote(needed)}')
    targets = {"example", "bin"} & values.keys()
    if len(targets) == 2:
        report.error(node.value["bin"], '"example" is here as well', 'either "example" or "bin"')
    elif not targets and (mode == "target" or "repo" in values or (mode == "build" and "path" not in values)):
        report.error(node, "the binary does not say what to build", '"example" or "bin"')
    if "commit" in values and "repo" not in values and mode == "build":
        report.error(node.value["commit"], '"commit" is for a binary from a repository', '"repo" as well')
