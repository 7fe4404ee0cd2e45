"""What a new lab begins with: the plan of a file, and a place for its record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from patchbay_runner.errors import Diagnostic, InputError, LabError
from patchbay_runner.library import logs
from patchbay_runner.loader import load_network
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.files import Owner, calling_user, make_directories
from patchbay_runner.results.lab_record import new_directory
from patchbay_runner.results.lock import is_held


def only_plan(path: Path, matrix: Mapping[str, object]) -> Plan:
    """The plan of a sim or topology file, of a matrix the variant with these values. Raises InputError."""
    loaded = load_network(path, cwd=Path.cwd())
    asked = {axis: str(value) for axis, value in matrix.items()}
    fitting = [plan for plan in loaded.plans if asked.items() <= {a: str(v) for a, v in plan.matrix.items()}.items()]
    if len(fitting) != 1:
        found = "; ".join(" ".join(f"{axis}={value}" for axis, value in plan.matrix.items()) for plan in loaded.plans)
        raise InputError([Diagnostic(str(path), 0, "matrix", f"{len(fitting)} variants have these values", found)])
    return fitting[0]


def record_directory(label: str, outdir: str | Path | None, base: str | Path | None) -> Path | None:
    """Where the record goes; the environment's place is for whoever named none.

    Raises LabError, HostError, and InputError when what the environment wants to have logged is malformed.
    """
    base = base or os.environ.get("PATCHBAY_OUTDIR")
    if outdir is not None or base:
        logs.directives(os.environ)  # which nothing is made for when it is wrong
    if outdir is not None:
        exact = Path(outdir).absolute()
        if exact.exists() and is_held(exact):
            raise LabError(f"another lab writes its record to {exact}")
        make_directories(exact, record_owner())  # the sandbox could not say why it cannot be written to
        return exact
    return new_directory(Path(base).absolute(), label, record_owner()) if base else None


def record_owner() -> Owner | None:
    """Whose a record is, where root works for somebody."""
    return calling_user(os.environ, os.geteuid())
