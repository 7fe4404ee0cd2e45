"""`patchbay.toml`: what `patchbay` does in a project when the command line does not say."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from patchbay_runner.errors import InputError
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.documents import Document, Reader
from patchbay_runner.loader.fields import array, filled_text, positive_duration, read_table
from patchbay_runner.loader.machine import read_machine
from patchbay_runner.loader.node import Node, describe
from patchbay_runner.loader.shapes import described
from patchbay_runner.model.vm import MachineOptions

# The first that is there counts.
NAMES = ("patchbay.toml", ".patchbay.toml")
MOST_JOBS = 1_000

Jobs = int | Literal["auto"]


class ProjectSettings(msgspec.Struct, frozen=True):
    """`simulations` are inputs of `load`, the paths relative to the working directory. None is not said."""

    simulations: tuple[str, ...] = ()
    jobs: Jobs | None = None
    timeout_s: float | None = None
    work_dir: Path | None = None
    machine: MachineOptions = MachineOptions()


def read_project(root: Path, cwd: Path) -> ProjectSettings:
    """The settings of the project in `root`, which may be relative to `cwd`.

    Raises InputError with every problem of its file.
    """
    report = Report()
    path = next((path for name in NAMES if os.path.lexists(path := cwd / root / name)), None)
    document = Reader(cwd, report).read(path) if path else None
    settings = _settings(document, cwd, report) if document else ProjectSettings()
    if report.errors:
        raise InputError(sorted(set(report.errors)))
    return settings


def _settings(document: Document, cwd: Path, report: Report) -> ProjectSettings:
    found = read_table(document.root, PROJECT_FIELDS, report, "the project's settings") or {}
    beside = Path(os.path.relpath(document.path.parent, cwd))
    for node in found.get("simulations", ()):
        _check_is_there(node, beside, cwd, report)
    work_dir = found.get("work_dir")
    return ProjectSettings(
        tuple(str(beside / node.value) for node in found.get("simulations", ())),
        found.get("jobs"),
        found.get("timeout"),
        beside / work_dir if work_dir else None,
        found.get("vm", MachineOptions()),
    )


def _check_is_there(node: Node, beside: Path, cwd: Path, report: Report) -> None:
    """What a pattern finds, the search itself says."""
    if not glob.has_magic(node.value) and not (cwd / beside / node.value).exists():
        report.error(node, f"there is no {beside / node.value}", "a file, a directory or a glob pattern")


def _simulations(node: Node, report: Report) -> tuple[Node, ...] | None:
    if isinstance(node.value, tuple):
        return array(_path, "paths and glob patterns")(node, report)
    path = _path(node, report)
    return None if path is None else (path,)


def _path(node: Node, report: Report) -> Node | None:
    return None if filled_text(node, report) is None else node


def _jobs(node: Node, report: Report) -> Jobs | None:
    jobs = node.value
    if jobs == "auto":
        return "auto"
    if type(jobs) is int and 1 <= jobs <= MOST_JOBS:
        return jobs
    report.error(node, f"found {describe(node)}", f'"auto" or an integer from 1 to {MOST_JOBS}')
    return None


PROJECT_FIELDS: dict[str, Any] = {
    "simulations": described(
        _simulations,
        "files, directories and globs to run when none is named; also those of `plan` and `prepare`",
        kind="string or array of strings",
    ),
    "jobs": described(
        _jobs, "what `--jobs` is by default", '`"auto"`', kind=f'`"auto"`, or integer, 1 to {MOST_JOBS:,}'
    ),
    "timeout": described(positive_duration, "what `--timeout` is by default"),
    "work_dir": described(filled_text, "what `--work-dir` is by default", '`".patchbay-work"`'),
    "vm": described(read_machine, "the project's virtual machine", kind="table"),
}
