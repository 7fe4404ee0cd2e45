"""`patchbay matrix`: what CI services read."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml

from patchbay_runner.cli.main import run_command
from tests.unit.loading import NETWORK

STEPS = '[[step]]\naction = "wait"\nduration = "1s"\n' + NETWORK
SIM = '[matrix]\nnat = ["home", "a b$c\\"é"]\nloud = [true]\n[sim]\nname = "s"\n' + STEPS


@pytest.fixture(autouse=True)
def sims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sims").mkdir()
    (tmp_path / "sims" / "many.toml").write_text(SIM)
    (tmp_path / "sims" / "one.toml").write_text(STEPS)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run_command(["matrix", *arguments]) == 0
    return capsys.readouterr().out


def test_json_lists_every_variant(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = json.loads(printed(capsys, "sims"))
    assert [job["name"] for job in jobs] == ["s-home-true", 's-a b$c"é-true', "one"]
    assert jobs[0] == {
        "name": "s-home-true",
        "file": "sims/many.toml",
        "axes": {"nat": "home", "loud": True},
        "args": ["sims/many.toml", "--matrix=nat=home", "--matrix=loud=true"],
    }
    assert jobs[2]["args"] == ["sims/one.toml"]


def test_github_gets_one_line_for_from_json(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(capsys, "sims", "--format", "github").splitlines()
    matrix = json.loads(line)
    assert list(matrix) == ["include"]
    assert shlex.split(matrix["include"][1]["args"]) == ["sims/many.toml", '--matrix=nat=a b$c"é', "--matrix=loud=true"]


def test_gitlab_gets_a_job_to_extend_with_dollars_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load(printed(capsys, "sims", "--format", "gitlab"))
    entries = document[".patchbay-matrix"]["parallel"]["matrix"]
    assert [list(entry) for entry in entries] == [["PATCHBAY_NAME", "PATCHBAY_ARGS"]] * 3
    assert entries[1]["PATCHBAY_NAME"] == 's-a b$$c"é-true'
    assert entries[2] == {"PATCHBAY_NAME": "one", "PATCHBAY_ARGS": "sims/one.toml"}


def test_every_job_runs_what_it_is_named_for(capsys: pytest.CaptureFixture[str]) -> None:
    for job in json.loads(printed(capsys, "sims")):
        assert run_command(["plan", "--json", *job["args"]]) == 0
        assert [plan["name"] for plan in json.loads(capsys.readouterr().out)] == [job["name"]]


def test_jobs_are_of_the_sims_that_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert [job["name"] for job in json.loads(printed(capsys, "sims", "--filter", "o*"))] == ["one"]
    assert [job["name"] for job in json.loads(printed(capsys, "sims", "--matrix", "nat=home"))] == ["s-home-true"]
    (job,) = json.loads(printed(capsys, "sims", "--filter", "o*", "--shards", "3"))
    assert job["args"] == ["sims", "--filter=o*", "--shard", "1/1"]
    assert run_command(["plan", "--json", *job["args"]]) == 0
    assert [plan["name"] for plan in json.loads(capsys.readouterr().out)] == ["one"]


def test_the_project_may_name_the_sims(capsys: pytest.CaptureFixture[str]) -> None:
    Path("patchbay.toml").write_text('simulations = ["sims/one.toml"]\n')
    assert [job["name"] for job in json.loads(printed(capsys))] == ["one"]


def test_a_job_for_each_shard_and_none_more_than_variants(capsys: pytest.CaptureFixture[str]) -> None:
    jobs = json.loads(printed(capsys, "sims/many.toml", "sims/one.toml", "--shards", "9"))
    assert [job["shard"] for job in jobs] == ["1/3", "2/3", "3/3"]
    assert jobs[1]["args"] == ["sims/many.toml", "sims/one.toml", "--shard", "2/3"]


@pytest.mark.parametrize(("service", "most"), [("github", 256), ("gitlab", 200)])
def test_more_jobs_than_a_service_takes_is_said(capsys: pytest.CaptureFixture[str], service: str, most: int) -> None:
    for number in (most, most + 1):
        Path("large.toml").write_text(f"[matrix]\nn = {list(range(number))}\n{STEPS}")
        assert run_command(["matrix", "large.toml", "--format", service]) == (0 if number == most else 2)
    assert f"takes at most {most} jobs, and these are {most + 1}: use --shards N" in capsys.readouterr().err
    assert run_command(["matrix", "large.toml", "--format", service, "--shards", "4"]) == 0


@pytest.mark.parametrize(
    "arguments", [["--format", "jenkins", "sims"], ["--shards", "0", "sims"], ["--shards", "x", "sims"], [], ["none"]]
)
def test_nonsense_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert run_command(["matrix", *arguments]) == 2
    assert capsys.readouterr().out == ""
