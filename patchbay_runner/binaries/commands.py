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
    """A diagnostic for each step whose program is neither a declared binary nor on `path`."""
    needed = needed_commands(plans)
    found = {key: shutil.which(key[0], path=key[1] or path) is not None for key in set(needed.values())}
    return [place for place, key in needed.items() if not found[key]]


def needed_commands(plans: Sequence[Plan]) -> dict[Diagnostic, tuple[str, str | None]]:
    """For each step, its program's name and the step's own PATH, behind what to say when it is not there.

    Programs with a slash in their name are left alone: an earlier step may make them.
    """
    needed: dict[Diagnostic, tuple[str, str | None]] = {}
    for plan in plans:
        for step in _process_steps(plan):
            own = step.env.get("PATH")
            name, search = _literal(step.cmd[0]), None if own is None else _literal(own)
            if name is not None and "/" not in name and (own is None or search is not None):
                needed[_diagnostic(step, name, [binary.name for binary in plan.binaries])] = (name, search)
    return needed


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
