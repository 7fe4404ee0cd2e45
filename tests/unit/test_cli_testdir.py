"""`patchbay serve --testdir`: where the latest tests have left their records."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import click
import pytest

from patchbay_runner.cli.main import run_command
from patchbay_runner.cli.testdir import find_testdir


def record(directory: Path, written_s: int) -> Path:
    (directory / "some-record").mkdir(parents=True)
    os.utime(directory, (written_s, written_s))
    return directory


def remember(project: Path, directory: Path) -> None:
    cache = project / ".pytest_cache/v/patchbay"
    cache.mkdir(parents=True)
    (cache / "records").write_text(json.dumps(str(directory)))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    (made / "src").mkdir(parents=True)
    return made


@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo")
def test_cargo_is_asked_for_its_target_directory(project: Path, tmp_path: Path) -> None:
    (project / "Cargo.toml").write_text('[package]\nname = "mine"\nversion = "0.1.0"\n')
    (project / "src/lib.rs").touch()
    (project / ".cargo").mkdir()
    (project / ".cargo/config.toml").write_text(f'[build]\ntarget-dir = "{tmp_path}/built"\n')
    newest = record(tmp_path / "built/testdir-1", 1)
    (tmp_path / "built/testdir-current").symlink_to("testdir-1")
    assert find_testdir(project / "src", {}) == newest


def test_without_cargo_its_usual_place_is_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (project / "Cargo.toml").touch()
    newest = record(project / "target/testdir-current", 1)
    assert find_testdir(project, {}) == newest


def test_what_was_written_last_is_shown(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (project / "Cargo.toml").touch()
    record(project / "target/testdir-current", 2)
    older = record(tmp_path / "kept", 1)
    newer = record(tmp_path / "pytest/patchbay", 3)
    remember(project, newer)
    assert find_testdir(project, {"PATCHBAY_OUTDIR": str(older)}) == newer
    os.utime(older, (4, 4))
    assert find_testdir(project / "src", {"PATCHBAY_OUTDIR": str(older)}) == older


def test_every_place_that_was_looked_at_is_named(project: Path, tmp_path: Path) -> None:
    remember(project, tmp_path / "gone")
    with pytest.raises(click.UsageError) as nothing:
        find_testdir(project, {"PATCHBAY_OUTDIR": "kept"})
    assert nothing.value.message == (
        f"no records of tests below {project}\n"
        f"  {project}/kept: nothing there; PATCHBAY_OUTDIR names it\n"
        f"  {tmp_path}/gone: nothing there; "
        "pytest keeps the records of tests that fail, with --patchbay-outdir those of all"
    )


def test_the_command_says_what_is_wrong(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.delenv("PATCHBAY_OUTDIR", raising=False)
    assert run_command(["serve", "--testdir"]) == 2
    assert "there is neither Cargo.toml nor .pytest_cache" in capsys.readouterr().err
    assert run_command(["serve", "--testdir", "."]) == 2
    assert "leave out DIR" in capsys.readouterr().err
    remember(project, project)
    (project / ".pytest_cache/v/patchbay/records").write_text("{")
    assert run_command(["serve", "--testdir"]) == 2
    assert "cannot read" in capsys.readouterr().err
