"""`patchbay plan`: the table, JSON, resolved TOML, and what happens when a file is wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from patchbay_runner.cli.main import run_command
from patchbay_runner.model.plan import Plan
from tests.unit.loading import NETWORK

BINARY = '[[binary]]\nname = "tool"\nurl = "http://x/tool"\n'

SIM = """
[matrix]
nat = ["home", "none"]
[sim]
name = "s/${matrix.nat}"
[[step]]
device = "client"
cmd = ["echo", "two words", "\\u001b[31m"]
[[step]]
action = "wait"
duration = "1.5s"
requires = ["client.exit_code"]
[[step]]
action = "assert"
check = "client.exit_code == 0"
[[step]]
action = "set-impair"
device = "client"
condition = { latency_ms = 5 }
"""


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sim.toml"
    path.write_text(SIM + NETWORK + BINARY)
    return path


def test_the_table_shows_every_variant_and_step(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "sim.toml"]) == 0
    output = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert "s/home (sim.toml; nat = home): 1 router, 6 devices" in lines
    assert "0 run client client echo 'two words' \\x1b[31m sim.toml:6" in lines
    assert "1 wait 1.5s after client.exit_code sim.toml:9" in lines
    assert "2 assert client.exit_code == 0 sim.toml:13" in lines
    assert "3 set-link-condition client eth0 (up): latency_ms 5 sim.toml:16" in lines
    assert lines[-1] == "2 sims"
    assert "\x1b" not in output


def test_json_is_a_list_of_plans(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--json", "sim.toml"]) == 0
    plans = msgspec.json.decode(capsys.readouterr().out, type=list[Plan])
    assert [plan.name for plan in plans] == ["s/home", "s/none"]
    assert all(len(plan.steps) == 4 for plan in plans)


def test_resolved_files_load(sim: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--toml", "out", "sim.toml", str(sim)]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["s_home.toml", "s_none.toml"]
    assert run_command(["plan", "--json", "out"]) == 0
    plans = msgspec.json.decode(capsys.readouterr().out, type=list[Plan])
    assert [plan.matrix for plan in plans] == [{"nat": "home"}, {"nat": "none"}]


def test_resolved_files_are_written_again_but_never_over_a_sim(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = sim.with_name("s_none.toml")
    assert run_command(["plan", "--toml", ".", "sim.toml"]) == 0
    assert run_command(["plan", "--toml", ".", "sim.toml"]) == 0
    assert written.read_text().startswith("# written by patchbay plan, from sim.toml\n")
    written.write_text(SIM)
    sim.with_name("s_home.toml").unlink()
    assert run_command(["plan", "--toml", ".", "sim.toml"]) == 2
    assert "s_none.toml is there, and not of our making" in capsys.readouterr().err
    assert written.read_text() == SIM
    assert not sim.with_name("s_home.toml").exists(), "nothing is written unless everything is"


def test_a_directory_that_cannot_be_written_is_the_hosts_fault(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--toml", "sim.toml/out", "sim.toml"]) == 4
    assert "cannot write sim.toml/out" in capsys.readouterr().err


def test_wrong_files_are_told_on_standard_error(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim.write_text(SIM.replace("1.5s", "soon").replace("echo", "${binary.x}") + NETWORK)
    assert run_command(["plan", "sim.toml", "nowhere.toml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(" ")[0] for line in captured.err.splitlines()[:3]] == [
        "nowhere.toml:",
        "sim.toml:8:",
        "sim.toml:11:",
    ]


def test_warnings_do_not_fail(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sim.write_text(SIM.replace('"echo"', '"sudo", "echo"') + NETWORK)
    assert run_command(["plan", "sim.toml"]) == 0
    assert capsys.readouterr().err.startswith("warning: sim.toml:8: step[0].cmd: sudo and su change nothing")
