"""Where the programs behind `${binary.name}` are."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.model.plan import Binary, Plan

_TARGET_PREFIX = "target:"


def resolve_binaries(plans: Sequence[Plan], project_root: Path, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """For each plan, binary name to absolute path. Raises InputError with everything that is missing."""
    problems: dict[Diagnostic, None] = {}
    resolved = []
    for plan in plans:
        paths = {}
        for binary in plan.binaries:
            found = _find(binary, project_root, environment)
            if isinstance(found, Path):
                paths[binary.name] = str(found)
            else:
                problems[Diagnostic(plan.source, 0, f"binary.{binary.name}.path", found, "an executable file")] = None
        resolved.append(paths)
    if problems:
        raise InputError(tuple(problems))
    return resolved


def _find(binary: Binary, project_root: Path, environment: Mapping[str, str]) -> Path | str:
    """The path, or what is wrong."""
    candidates = list(_candidates(binary.path or "", project_root, environment))
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        return f"there is no {' and no '.join(map(str, candidates))}"
    if found.is_dir():
        return f"{found} is a directory"
    if not os.access(found, os.X_OK):
        return f"{found} is not executable"
    return found


def _candidates(path: str, project_root: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    if not path.startswith(_TARGET_PREFIX):
        yield project_root / Path(path).expanduser()
        return
    artifact = path.removeprefix(_TARGET_PREFIX)
    named = environment.get("NETSIM_TARGET_DIR") or environment.get("CARGO_TARGET_DIR") or "target"
    target = project_root / named
    yield target / environment.get("RUST_TARGET", "") / "release" / artifact
    yield target / artifact
