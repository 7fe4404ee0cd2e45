"""The golden cases: what is loaded, where, and the file that holds what is expected of it.

A case is a file `<name>.toml`, or a directory `<name>/` with a `sim.toml` or with a file `inputs` that names what the
command line would, a line each. What is expected stands beside it in `<name>.expected`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Case:
    """Loads `inputs` in `cwd`."""

    name: str
    cwd: Path
    inputs: tuple[str, ...]
    expected: Path


def cases_in(directory: Path) -> list[Case]:
    """Every case of a directory, by name."""
    return [_case(path) for path in sorted(directory.iterdir()) if path.is_dir() or path.suffix == ".toml"]


def _case(path: Path) -> Case:
    expected = path.with_name(f"{path.stem if path.is_file() else path.name}.expected")
    if path.is_file():
        return Case(path.stem, path.parent, (path.name,), expected)
    listed = path / "inputs"
    inputs = tuple(listed.read_text(encoding="utf-8").splitlines()) if listed.exists() else ("sim.toml",)
    return Case(path.name, path, inputs, expected)


def compare(found: str, expected: Path, *, is_regenerating: bool) -> None:
    """Asserts that `found` is the text of `expected`, or writes it there."""
    if is_regenerating:
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")
