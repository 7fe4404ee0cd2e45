"""Programs that are there already: by their path, or among the artifacts of Cargo."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from patchbay_runner.errors import BinaryError
from patchbay_runner.model.plan import Binary

_TARGET_PREFIX = "target:"
EXECUTABLE = "an executable file"


def is_artifact(binary: Binary) -> bool:
    """Whether it lies below Cargo's target directory."""
    return binary.mode == "target" or (binary.path or "").startswith(_TARGET_PREFIX)


def path_candidates(binary: Binary, project_root: Path) -> list[Path]:
    """Where a binary of mode "path" may be."""
    return [project_root / Path(binary.path or "").expanduser()]


def artifact_candidates(binary: Binary, target_directory: Path, platform: str) -> list[Path]:
    """Where an artifact may be; `platform` is $RUST_TARGET."""
    release = target_directory / platform / "release"
    if (binary.path or "").startswith(_TARGET_PREFIX):
        artifact = (binary.path or "").removeprefix(_TARGET_PREFIX)
        return [release / artifact, target_directory / artifact]
    if binary.bin:
        return [release / binary.bin]
    if binary.example:
        return [release / "examples" / binary.example]
    return [release / "examples" / binary.name, release / binary.name]


def existing(candidates: Sequence[Path]) -> Path:
    """The first that is there, which must be a file. Raises BinaryError."""
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise BinaryError(f"there is no {' and no '.join(map(str, candidates))}", EXECUTABLE)
    if found.is_dir():
        hint = ', or mode = "build" for sources' if (found / "Cargo.toml").exists() else ""
        raise BinaryError(f"{found} is a directory", EXECUTABLE + hint)
    return found


def executable(candidates: Sequence[Path]) -> Path:
    """As `existing`, and it can be executed."""
    found = existing(candidates)
    if not os.access(found, os.X_OK):
        raise BinaryError(f"{found} is not executable", EXECUTABLE)
    return found


def named_target_directory(project_root: Path, environment: Mapping[str, str]) -> Path | None:
    """The target directory that the environment names."""
    named = environment.get("NETSIM_TARGET_DIR") or environment.get("CARGO_TARGET_DIR")
    return project_root / named if named else None
