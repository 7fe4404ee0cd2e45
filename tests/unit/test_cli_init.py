"""`patchbay init`: what it writes loads without a warning, and nothing of anybody's is overwritten."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from patchbay_runner.cli.init import starter_files
from patchbay_runner.cli.main import run_command
from patchbay_runner.loader import load

FILES = ["sims/first.toml", "topos/home-and-server.toml"]


@pytest.fixture(autouse=True)
def _working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_the_starter_is_written_where_one_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["init"]) == 0
    assert written(tmp_path) == FILES
    assert [str(name) for name, _ in starter_files()] == FILES
    assert capsys.readouterr().out.splitlines() == [
        *(f"wrote {name}" for name in FILES),
        "next: patchbay run sims/first.toml",
    ]


def test_elsewhere_and_with_the_way_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["init", "a/b"]) == 0
    assert written(tmp_path / "a" / "b") == FILES
    assert capsys.readouterr().out.endswith("next: cd a/b && patchbay run sims/first.toml\n")


@pytest.mark.parametrize("name", ["a b", "-x", "it's", "$HOME"])
def test_the_way_there_can_be_pasted(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["init", "--", name]) == 0
    way = capsys.readouterr().out.splitlines()[-1].removeprefix("next: ").partition(" && ")[0]
    place = subprocess.run(["sh", "-c", f"{way} && pwd"], check=True, capture_output=True, text=True).stdout
    assert place == f"{tmp_path / name}\n"


def test_what_is_written_is_a_sim_without_a_flaw(tmp_path: Path) -> None:
    run_command(["init"])
    loaded = load(["sims"], cwd=tmp_path)
    assert loaded.warnings == ()
    (plan,) = loaded.plans
    assert plan.name == "first"


@pytest.mark.parametrize("name", FILES)
def test_no_file_is_overwritten(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("mine")
    assert run_command(["init"]) == 2
    assert written(tmp_path) == [name]
    assert (tmp_path / name).read_text() == "mine"
    assert f"there already: {name}; nothing was written" in capsys.readouterr().err


def test_a_link_that_leads_nowhere_is_somebodys_as_well(tmp_path: Path) -> None:
    (tmp_path / "sims").mkdir()
    (tmp_path / FILES[0]).symlink_to("elsewhere")
    assert run_command(["init"]) == 2
    assert written(tmp_path) == []


def test_a_second_time_is_refused() -> None:
    assert run_command(["init"]) == 0
    assert run_command(["init"]) == 2


def test_all_or_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "topos").write_text("a file where a directory should be")
    assert run_command(["init"]) == 4
    assert written(tmp_path) == ["topos"]
    assert "cannot write topos" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_closed(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert run_command(["init", "closed"]) == 4


@pytest.mark.parametrize("arguments", [["a", "b"], ["--force"], [FILES[0]]])
def test_nonsense_is_2(arguments: list[str], tmp_path: Path) -> None:
    (tmp_path / "sims").mkdir()
    (tmp_path / FILES[0]).write_text("a file")
    assert run_command(["init", *arguments]) == 2
