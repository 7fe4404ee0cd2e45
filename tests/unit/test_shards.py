"""Sims dealt to shards: all of them, once, evenly, and the same way everywhere."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.cli.main import run_command
from patchbay_runner.model.plan import Plan
from patchbay_runner.results.record import find_runs, read_manifest
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.shards import SimKey, deal, digest, durations
from tests.unit.loading import NETWORK
from tests.unit.results_support import plan, step_failure

SIM = '[matrix]\nnat = ["home", "none", "corporate", "cgnat"]\nloud = [true]\n' + (
    '[sim]\nname = "s"\n[[step]]\naction = "wait"\nduration = "1s"\n' + NETWORK
)


def keys(number: int) -> list[SimKey]:
    return [SimKey("sim.toml", f"s{position}") for position in range(number)]


@given(st.integers(0, 60), st.integers(1, 12))
def test_without_durations_shards_have_equal_numbers(number: int, total: int) -> None:
    shards = deal(keys(number), {}, total)
    sizes = [shards.count(shard) for shard in range(1, total + 1)]
    assert sum(sizes) == number
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60), st.integers(1, 12))
def test_with_durations_no_shard_is_longer_than_the_mean_and_one_sim(takes_s: list[float], total: int) -> None:
    sims = keys(len(takes_s))
    known = dict(zip(sims, takes_s, strict=True))
    shards = deal(sims, known, total)
    assert set(shards) <= set(range(1, total + 1))
    loads = [sum(known[sim] for sim, at in zip(sims, shards, strict=True) if at == shard) for shard in set(shards)]
    assert max(loads) <= sum(takes_s) / total + max(takes_s) + 1e-6


def test_the_longest_go_first_and_an_unknown_one_counts_as_the_median() -> None:
    sims = keys(5)
    known = {sims[0]: 1.0, sims[1]: 8.0, sims[2]: 4.0, sims[3]: 3.0}  # the upper median: 4
    assert deal(sims, known, 2) == [2, 1, 2, 1, 2]


def test_the_digest_tells_other_sims_other_numbers_and_other_dealing() -> None:
    sims = keys(4)
    same = digest(sims, [1, 2, 1, 2], 2)
    assert digest(list(reversed(sims)), [2, 1, 2, 1], 2) == same
    others = [digest(sims[:3], [1, 2, 1], 2), digest(sims, [1, 2, 2, 1], 2), digest(sims, [1, 2, 1, 2], 3)]
    assert len({same, *others}) == 4


def test_durations_are_of_sims_that_came_to_an_end(tmp_path: Path) -> None:
    for runtime_s in (2.0, 4.0):
        with RunDirectory.create(tmp_path, [plan("a"), plan("b"), plan("never")]) as directory:
            for sim, failure in zip(directory.sims[:2], (None, step_failure(phase="interrupted")), strict=True):
                sim.start()
                sim.state.runtime_s = runtime_s
                sim.end(failure)
    runs = find_runs(tmp_path)
    assert len(runs) == 2, "latest is one of the two"
    assert durations(map(read_manifest, runs)) == {SimKey("sims/a.toml", "a"): 3.0}


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sim.toml"
    path.write_text(SIM)
    return path


def shard_names(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run_command(["plan", "--json", "sim.toml", *arguments]) == 0
    return [each.name for each in msgspec.json.decode(capsys.readouterr().out, type=list[Plan])]


def test_plan_shows_a_shard(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = [shard_names(capsys, "--shard", f"{index}/3") for index in (1, 2, 3)]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert sorted(name for part in parts for name in part) == sorted(shard_names(capsys))


def test_plan_balances_by_the_durations_of_an_earlier_run(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--json", "sim.toml"]) == 0
    plans = msgspec.json.decode(capsys.readouterr().out, type=list[Plan])
    with RunDirectory.create(Path("work"), plans) as directory:
        for record, runtime_s in zip(directory.sims, (9.0, 2.0, 2.0, 2.0), strict=True):
            record.start()
            record.state.runtime_s = runtime_s
            record.end(None)
    first = shard_names(capsys, "--shard", "1/2", "--durations", "work")
    assert first == [plans[0].name]
    assert shard_names(capsys, "--shard", "2/2", "--durations", str(directory.path)) == [
        each.name for each in plans[1:]
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--shard", "3/2"], "there is no shard 3/2; the first of 2 is 1/2"),
        (["--shard", "1/0"], "nothing can be cut into 0 parts"),
        (["--shard", "1/2", "--durations", "sim.toml"], "sim.toml: this is no directory; expected a run directory"),
        (["--shard", "0/2"], "there is no shard 0/2"),
        (["--shard", "one"], "'one' is no shard; expected K/N, such as 2/4"),
        (["--shard", "1/2/3"], "is no shard"),
        (["--shard", "-1/2"], "is no shard"),
        (["--shard", "٣/٤"], "is no shard"),
        (["--durations", "."], "--durations balances shards"),
        (["--shard", "1/2", "--durations", "nowhere"], "nowhere: there is no such directory; expected a run directory"),
        (["--shard", "1/2", "--durations", "."], ".: there is no manifest.json in it or below it"),
    ],
)
def test_nonsense_is_2_and_said(sim: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert run_command(["plan", "sim.toml", *arguments]) == 2
    assert told in capsys.readouterr().err


def test_a_directory_that_may_not_be_read_is_told_rather_than_passed_over(
    sim: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunDirectory.create(Path("work"), [plan("a")]):
        pass
    Path("work/closed").mkdir()
    scandir = os.scandir

    def refuse(path: str | Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root may read everything
    assert run_command(["plan", "sim.toml", "--shard", "1/2", "--durations", "work"]) == 2
    assert "work/closed: cannot be read: Permission denied" in capsys.readouterr().err


def test_a_shard_without_sims_is_told(sim: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "sim.toml", "--shard", "5/5"]) == 0
    assert "there are no more than 4 sims, so none is left for shard 5/5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "this is no JSON"),
        (b"\xff\xfe", "this is no JSON"),
        (b"{}", "another version of patchbay wrote this"),
        (b"[]", "another version of patchbay wrote this"),
    ],
)
def test_a_run_that_cannot_be_read_is_named(
    sim: Path, capsys: pytest.CaptureFixture[str], content: bytes, told: str
) -> None:
    Path("old").mkdir()
    Path("old/manifest.json").write_bytes(content)
    assert run_command(["plan", "sim.toml", "--shard", "1/2", "--durations", "old"]) == 2
    error = capsys.readouterr().err
    assert "old/manifest.json" in error
    assert told in error
