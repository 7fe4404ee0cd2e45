"""What the tests of a Python project need, by what projects say of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.requirements import import_paths, needs_of_tests


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[project]\nname = "x"\ndependencies = ["a>=1"]', ("a>=1", "pytest")),
        (
            '[project]\nname = "x"\noptional-dependencies = { test = ["b"], dev = ["c"], docs = ["d"] }',
            ("b", "pytest"),
        ),
        ('[project]\nname = "x"\noptional-dependencies = { dev = ["c", "pytest"] }', ("c", "pytest")),
        (
            '[project]\nname = "My.X"\noptional-dependencies = { dev = ["my-x[a,b]"], a = ["e"], b = ["m"] }',
            ("e", "m", "pytest"),
        ),
        (
            '[dependency-groups]\ntest = ["b", { include-group = "base" }]\nbase = ["a", { include-group = "test" }]',
            ("b", "a", "pytest"),
        ),
    ],
)
def test_pyproject(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    (tmp_path / "requirements.txt").write_text("ignored\n")
    needs = needs_of_tests(tmp_path)
    assert (needs.requirements, needs.files) == (expected, ())


def test_requirements_files_where_pyproject_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    for name in ("requirements-dev.txt", "requirements.txt", "other.txt"):
        (tmp_path / name).write_text("a\n")
    needs = needs_of_tests(tmp_path)
    assert needs.requirements == ("pytest",)
    assert [path.name for path in needs.files] == ["requirements.txt", "requirements-dev.txt"]


def test_nothing_at_all_is_enough(tmp_path: Path) -> None:
    assert needs_of_tests(tmp_path).requirements == ("pytest",)


def test_a_broken_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(BinaryError, match=r"pyproject\.toml cannot be read"):
        needs_of_tests(tmp_path)


def test_where_sources_lie(tmp_path: Path) -> None:
    assert import_paths(tmp_path) == ("/app",)
    (tmp_path / "src").mkdir()
    assert import_paths(tmp_path) == ("/app/src",)
