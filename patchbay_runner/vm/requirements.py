"""What the tests of a Python project need: read from its pyproject.toml, else from its requirements files. Pure."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.staging import APP

# What projects call the extra or the group that their tests need; the first line that has any counts.
_GROUPS = (("test", "tests", "testing"), ("dev",))
_FILES = ("requirements.txt", "requirements-test.txt", "requirements-dev.txt", "test-requirements.txt")
_ALWAYS = "pytest"
_NAME = re.compile(r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[(?P<extras>[^\]]*)\])?")

Tables = Mapping[str, Iterable[Any]]


class Needs(msgspec.Struct, frozen=True):
    """Requirements as pip takes them, and requirements files."""

    requirements: tuple[str, ...]
    files: tuple[Path, ...] = ()


def needs_of_tests(workspace: Path) -> Needs:
    """What the project in `workspace` says. Raises BinaryError for a file that is not to be read."""
    pyproject = workspace / "pyproject.toml"
    document = _read(pyproject) if pyproject.is_file() else {}
    if "project" in document or "dependency-groups" in document:
        return Needs(tuple(dict.fromkeys([*_of_project(document), _ALWAYS])))
    return Needs((_ALWAYS,), tuple(path for name in _FILES if (path := workspace / name).is_file()))


def import_paths(workspace: Path) -> tuple[str, ...]:
    """Where the guest finds the project's own modules: its sources are imported, nothing of it is built."""
    return (str(APP / "src"),) if (workspace / "src").is_dir() else (str(APP),)


def _of_project(document: Mapping[str, Any]) -> Iterator[str]:
    project = document.get("project", {})
    extras: Tables = project.get("optional-dependencies", {})
    groups: Tables = document.get("dependency-groups", {})
    own = _normal(project.get("name", ""))
    yield from project.get("dependencies", ())
    for tables in (extras, groups):
        wanted = next((names for names in _GROUPS if any(name in tables for name in names)), ())
        for name in wanted:
            yield from _expanded(tables, name, own, extras, frozenset())


def _expanded(tables: Tables, group: str, own: str, extras: Tables, seen: frozenset[str]) -> Iterator[str]:
    """A group's requirements, with those of the groups that it includes (PEP 735) and of the project's own extras."""
    for item in tables.get(group, ()) if group not in seen else ():
        if isinstance(item, dict):
            yield from _expanded(tables, item.get("include-group", ""), own, extras, seen | {group})
            continue
        match = _NAME.match(item)
        if match and _normal(match["name"]) == own:
            for extra in (match["extras"] or "").split(","):
                yield from _expanded(extras, extra.strip(), own, extras, seen | {group})
        else:
            yield item


def _normal(name: str) -> str:
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BinaryError(f"{path} cannot be read: {error}", "a TOML file") from error
