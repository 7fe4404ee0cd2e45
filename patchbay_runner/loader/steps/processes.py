"""`run` and `spawn`."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.node import Node, describe
from patchbay_runner.loader.shapes import accepts, one_shape_of
from patchbay_runner.loader.steps.captures import IMPLICIT, check_parser, result_uses
from patchbay_runner.loader.steps.draft import Built, Table, Use, is_dynamic
from patchbay_runner.loader.steps.readiness import check_readiness
from patchbay_runner.model.steps import ExpectedExit, Run, Spawn

_SETUID = ("sudo", "su")
_SETUID_IN_SHELL = re.compile(r"(?:^|[;&|(]|\bthen|\bdo)\s*(?:sudo|su)\s")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh")


def build_run(table: Table, report: Report) -> Built | None:
    """A `run` step."""
    return _build(Run, table, report)


def build_spawn(table: Table, report: Report) -> Built | None:
    """A `spawn` step."""
    return _build(Spawn, table, report)


@accepts(
    one_shape_of(
        {"const": "any"},
        {"type": "integer", "minimum": -64, "maximum": 255},
        {"type": "string", "pattern": r"^-?\d{1,3}$"},
    )
)
def expected_exit(node: Node, report: Report) -> ExpectedExit | None:
    """An exit code, the negative number of a signal, or "any"."""
    value = node.value
    if value == "any":
        return "any"
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,3}", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -64 <= value <= 255:
        expected = 'an exit code from 0 to 255, the negative number of a signal, or "any"'
        report.error(node, f"found {describe(node)}", expected)
        return None
    return value


def _build(kind: type[Run | Spawn], table: Table, report: Report) -> Built | None:
    check_parser(table, report)
    cmd = (*table.get("cmd", ()), *table.get("args", ()))
    if table.has("cmd") and table.get("cmd") is not None:
        _check_command(table, cmd, report)
    if kind is Run and not table.has("id") and is_dynamic(table.get("device", "")):
        report.error(
            table.at("device"), 'the step needs an "id" of its own, since its device is known only when it runs'
        )
    if not {"device", "cmd"} <= table.values.keys():
        return None
    extra: dict[str, Any] = {}
    if kind is Spawn:
        check_readiness(table, report)
        extra = {"ready_after_s": table.get("ready_after", 0.0), **table.take("ready_when")}
    else:
        extra = table.take("parallel")
    step = kind(
        **table.base(),
        cmd=cmd,
        **table.take("device", "env", "cwd", "parser", "captures", "results", "expect_exit"),
        **extra,
    )
    names = tuple([capture.name for capture in step.captures]) + IMPLICIT
    return Built(step, names, (*_uses(table), *result_uses(table)))


def _uses(table: Table) -> list[Use]:
    return table.uses_in("device", "cmd", "args", "env", "ready_when")


def _check_command(table: Table, cmd: tuple[str, ...], report: Report) -> None:
    node = table.at("cmd")
    if not table.get("cmd"):
        report.error(node, "the command is empty", "at least the name of a program")
        return
    if not cmd[0].strip():
        report.error(node, "the name of the program is empty")
        return
    program = PurePosixPath(cmd[0]).name
    in_shell = program in _SHELLS and any(_SETUID_IN_SHELL.search(part) for part in cmd[1:])
    if program in _SETUID or in_shell:
        report.warn(node, 'sudo and su change nothing in a sandbox; [sim] user = "root" runs the steps as uid 0')
