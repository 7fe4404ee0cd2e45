"""Commands that no PATH has, found before anything runs."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Collection, Iterator, Sequence

from patchbay_runner.errors import Diagnostic
from patchbay_runner.model.interpolation import Literal, tokenize
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import ProcessStep


def missing_commands(plans: Sequence[Plan], path: str) -> list[Diagnostic]:
    """A diagnostic for each step whose program is neither a declared binary nor on `path`.

    Programs with a slash in their name are left alone: an earlier step may make them.
    """
    known: dict[tuple[str, str], bool] = {}
    problems: dict[Diagnostic, None] = {}
    for plan in plans:
        for step in _process_steps(plan):
            name, search = _literal(step.cmd[0]), _literal(step.env.get("PATH", path))
            if name is None or search is None or "/" in name:
                continue
            if (name, search) not in known:
                known[name, search] = shutil.which(name, path=search) is not None
            if not known[name, search]:
                problems[_diagnostic(step, name, [binary.name for binary in plan.binaries])] = None
    return list(problems)


def _process_steps(plan: Plan) -> Iterator[ProcessStep]:
    for step in (*plan.steps, *plan.on_failure):
        if isinstance(step, ProcessStep):
            yield step


def _literal(text: str) -> str | None:
    """The text, or None when it is known only at run time."""
    tokens = tokenize(text)
    literals = [token.text for token in tokens if isinstance(token, Literal)]
    return "".join(literals) if len(literals) == len(tokens) else None


def _diagnostic(step: ProcessStep, name: str, binaries: Collection[str]) -> Diagnostic:
    near = difflib.get_close_matches(name, binaries, n=1, cutoff=0.8)
    expected = f'the binary as "${{binary.{near[0]}}}"' if near else "a program of this machine, or a [[binary]]"
    return Diagnostic(step.origin.file, step.origin.line, "cmd", f"there is no program {name!r} on PATH", expected)
