from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.loader.project import ProjectSettings, read_project

ALL = """
simulations = ["sims", "more/**/*.toml"]
jobs = 4
timeout = "90s"
work_dir = "out"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "sims").mkdir()
    return tmp_path


def problems(project: Path, text: str) -> list[str]:
    (project / "patchbay.toml").write_text(text)
    with pytest.raises(InputError) as raised:
        read_project(project, project)
    return [str(problem) for problem in raised.value.diagnostics]


def test_without_a_file_nothing_is_said(project: Path) -> None:
    assert read_project(project, project) == ProjectSettings()


@pytest.mark.parametrize("name", ["patchbay.toml", ".patchbay.toml"])
def test_every_key_is_read(project: Path, name: str) -> None:
    (project / name).write_text(ALL)
    expected = ProjectSettings(("sims", "more/**/*.toml"), 4, 90.0, Path("out"))
    assert read_project(project, project) == expected


def test_the_file_that_is_not_hidden_counts(project: Path) -> None:
    (project / ".patchbay.toml").write_text("not even TOML")
    (project / "patchbay.toml").write_text('simulations = "sims"\njobs = "auto"')
    assert read_project(project, project) == ProjectSettings(("sims",), "auto")


def test_paths_are_relative_to_the_file(project: Path) -> None:
    (project / "patchbay.toml").write_text(ALL)
    elsewhere = project / "sims"
    found = read_project(project, elsewhere)
    assert found.simulations == ("../sims", "../more/**/*.toml")
    assert found.work_dir == Path("../out")
    assert read_project(Path(".."), elsewhere) == found


def test_absolute_paths_stay(project: Path) -> None:
    (project / "patchbay.toml").write_text(f'simulations = "{project}/sims"')
    assert read_project(project, project / "sims").simulations == (f"{project}/sims",)


def test_every_problem_is_told_with_its_place(project: Path) -> None:
    text = 'simulation = "sims"\njobs = 0\ntimeout = 5\nwork_dir = ""\n[sim]\nname = "x"\n'
    assert problems(project, text) == [
        'patchbay.toml:1: simulation: unknown key "simulation" (did you mean "simulations"?)',
        'patchbay.toml:2: jobs: found the integer 0; expected "auto" or an integer from 1 to 1000',
        'patchbay.toml:3: timeout: found the integer 5; expected a duration with its unit such as "5s"',
        "patchbay.toml:4: work_dir: the string is empty; expected at least one character that is no blank",
        'patchbay.toml:5: sim: unknown key "sim"; expected "simulations", "jobs", "timeout", "work_dir" or "vm"',
    ]


@pytest.mark.parametrize("value", ["true", "1.0", '"4"', '"Auto"', "-1", "1001", "[]"])
def test_jobs_are_a_number_or_auto(project: Path, value: str) -> None:
    (problem,) = problems(project, f"jobs = {value}")
    assert problem.startswith("patchbay.toml:1: jobs: found")


def test_simulations_that_are_not_there_are_told_where_they_are_named(project: Path) -> None:
    assert problems(project, 'simulations = [\n  "sims",\n  "smis",\n  7,\n]') == [
        "patchbay.toml:4: simulations[2]: found the integer 7; expected a string",
    ]
    assert problems(project, 'simulations = [\n  "sims",\n  "smis",\n]') == [
        "patchbay.toml:3: simulations[1]: there is no smis; expected a file, a directory or a glob pattern",
    ]


def test_a_file_that_cannot_be_read_is_an_error(project: Path) -> None:
    (project / "patchbay.toml").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        read_project(project, project)
