"""`patchbay merge`: runs put together, and what is told about what is missing."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from lxml import etree

from patchbay_runner.cli.main import run_command
from patchbay_runner.errors import HostError
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure, StepResult
from patchbay_runner.results import lock, merged
from patchbay_runner.results.documents import CombinedResults, Manifest, Progress, ShardOfRun, Sim, Status
from patchbay_runner.results.merging import merge
from patchbay_runner.results.record import RecordedRun, find_runs, read_run
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, read_json, recorder_of, step_failure

# A run whose process ends in the middle of its second sim, as by SIGKILL.
KILLED = """
import os, sys
from pathlib import Path
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan
directory = RunDirectory.create(Path(sys.argv[1]), [plan("done"), plan("cut"), plan("later")])
for sim in directory.sims[:2]:
    sim.start()
directory.sims[0].end(None)
os._exit(9)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shard(index: int, total: int = 2, digest: str = "same") -> ShardOfRun:
    return ShardOfRun(index=index, total=total, digest=digest)


def make_run(work: str, sims: dict[str, Failure | None], part: ShardOfRun | None = None) -> Path:
    """A finished run, one of `sims` after the other; each has a result and a log."""
    with RunDirectory.create(Path(work), [plan(name) for name in sims], shard=part) as directory:
        for sim, failure in zip(directory.sims, sims.values(), strict=True):
            sim.start()
            with recorder_of(sim) as recorder:
                os.close(recorder.open_log("client", "fetcher", "stdout"))
                recorder.results([StepResult(id="fetcher", down_bytes="7")])
                recorder.finished(failure)
            sim.end(None)
    return directory.path


def merged_run(capsys: pytest.CaptureFixture[str], *arguments: str | Path, code: int = 0) -> tuple[RecordedRun, str]:
    """The merged run, and what was printed to standard error."""
    assert run_command(["merge", *map(str, arguments)]) == code
    return read_run(Path(".patchbay-work/latest").resolve()), capsys.readouterr().err


def test_shards_become_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("b", {"late": step_failure()}, shard(2))
    make_run("a", {"early": None}, shard(1))
    run, error = merged_run(capsys, "b", "a", "--junit", "junit.xml", code=1)
    assert error == ""
    assert [(sim.summary.sim, sim.summary.status) for sim in run.sims] == [("early", Status.OK), ("late", Status.ERROR)]
    assert run.manifest.status.value == "done"
    assert (run.manifest.success, run.manifest.shard) == (False, None)
    assert [part.shard for part in run.manifest.merged] == [shard(1), shard(2)]
    assert {path.name for path in run.path.iterdir()} == {
        ".lock", "manifest.json", "progress.json", "combined-results.json", "combined-results.md", "early", "late",
    }  # fmt: skip
    for name, kind in {"manifest": Manifest, "progress": Progress, "combined-results": CombinedResults}.items():
        msgspec.json.decode((run.path / f"{name}.json").read_bytes(), type=kind)
    combined = read_json(run.path / "combined-results.json")["runs"]
    assert [(each["run"], each["steps"][0]["down_bytes"]) for each in combined] == [(run.path.name, "7")] * 2
    assert (run.path / "late/nodes/client/fetcher.stdout.log").exists()
    assert "| late | error |" in (run.path / "combined-results.md").read_text()
    assert [case.get("name") for case in etree.parse("junit.xml").iter("testcase")] == ["early", "late"]
    assert not lock.is_held(run.path)


def test_what_failed_is_printed_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("a", {"bad": step_failure(), "good": None})
    assert run_command(["merge", "a"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "bad: failed (sims/relay.toml:7): fetcher exited with code 3"
    assert lines[1].startswith("1 passed, 1 failed, from 1 run · .patchbay-work/sim-")


def test_sims_of_one_name_get_directories_of_their_own_and_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("a", {"x": None, "y": None})
    make_run("b", {"x": step_failure()})
    run, error = merged_run(capsys, "a", "b", code=1)
    assert [sim.summary.sim_dir for sim in run.sims] == ["x", "y", "x-2"]
    assert error == "warning: x (sims/x.toml) is in 2 of the runs; all are kept\n"
    document = msgspec.json.decode((run.path / "x-2/sim.json").read_bytes(), type=Sim)
    assert (document.sim_dir, document.status) == ("x-2", Status.ERROR)


def test_a_killed_shard_is_told_and_its_sim_interrupted(capsys: pytest.CaptureFixture[str], checkout: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, "k"],
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=False,
    )
    assert ended.returncode == 9
    (source,) = find_runs(Path("k"))
    (source / "cut" / ".sim.json.new").write_text('{"half')
    run, error = merged_run(capsys, "k", code=130)
    assert error == f"warning: {source.resolve()}, was killed: 1 of 3 sims came to their end\n"
    statuses = {sim.summary.sim: sim.summary.status.value for sim in run.sims}
    assert statuses == {"done": "ok", "cut": "interrupted", "later": "pending"}
    assert run.manifest.status.value == "interrupted"
    assert read_json(run.path / "cut/results.json")["status"] == "interrupted"
    assert read_json(run.path / "cut/sim.json")["error"]["phase"] == "interrupted"
    assert not (run.path / "cut/.sim.json.new").exists()
    assert read_json(source / "cut/sim.json")["status"] == "running", "the run itself stays as it was"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([shard(1, 3), shard(3, 3)], "shard 2/3 is missing"),
        ([shard(1, 2), shard(2, 2, "other")], "the shards were not dealt alike"),
        ([shard(1, 2), shard(2, 3)], "the runs are shards of different wholes: of 2, 3"),
    ],
)
def test_a_gap_is_told_and_is_no_success(
    capsys: pytest.CaptureFixture[str], parts: list[ShardOfRun], told: str
) -> None:
    for number, part in enumerate(parts):
        make_run("work", {f"s{number}": None}, part)
    run, error = merged_run(capsys, "work", code=130)
    assert told in error
    assert run.manifest.success is False


def test_a_merged_run_can_be_merged_again(capsys: pytest.CaptureFixture[str]) -> None:
    for index in (1, 2, 3):
        make_run(f"w{index}", {f"s{index}": None}, shard(index, 3))
    first, error = merged_run(capsys, "w1", "w2", code=130)
    assert "shard 3/3 is missing" in error
    run, error = merged_run(capsys, first.path, "w3", code=130)
    assert len(run.manifest.merged) == 3
    assert "is missing" not in error


def test_different_versions_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        make_run(name, {name: None})
    manifest = next(Path("b").glob("sim-*/manifest.json"))
    text = manifest.read_text()
    manifest.write_text(text.replace('"patchbay_version": "', '"future": [1], "patchbay_version": "9.'))
    _, error = merged_run(capsys, "a", "b")
    assert "warning: the runs are by different versions of patchbay: 0." in error


def test_the_same_run_is_taken_once(capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run("a", {"x": None})
    run, error = merged_run(capsys, "a", path, "a/latest")
    assert (len(run.sims), error) == (1, "")


def test_a_copy_of_the_latest_run_in_an_artifact_is_not_a_second_one(capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run("a", {"x": None})
    Path("a/latest").unlink()
    shutil.copytree(path, "a/latest")
    (path / ".lock").unlink()  # hidden files stay behind
    run, error = merged_run(capsys, "a")
    assert (len(run.sims), error) == (1, "")


def test_modes_and_links_stay_and_sockets_stay_away(capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run("a", {"x": None})
    (path / "x/key.pem").touch(0o600)
    (path / "x/to").symlink_to("/nowhere")
    os.mkfifo(path / "x/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path / "x/socket"))
    run, _ = merged_run(capsys, "a")
    copied = run.path / "x"
    assert stat.S_IMODE((copied / "key.pem").stat().st_mode) == 0o600
    assert (copied / "to").readlink() == Path("/nowhere")
    assert not {"pipe", "socket"} & {each.name for each in copied.iterdir()}


def test_a_run_that_is_not_over_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with RunDirectory.create(Path("a"), [plan("x")]) as directory:
        assert run_command(["merge", "a"]) == 2
    assert f"{directory.path}: this run is not over yet" in capsys.readouterr().err
    assert not Path(".patchbay-work").exists()


def test_a_manifest_that_points_elsewhere_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run("a", {"x": None})
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sim_dir": "x"', '"sim_dir": "../../x"'))
    assert run_command(["merge", "a"]) == 2
    assert "is no name of a sim's directory" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "..", ""])
def test_a_manifest_that_points_at_its_run_is_refused(capsys: pytest.CaptureFixture[str], name: str) -> None:
    path = make_run("a", {"x": None})
    manifest = path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"sim_dir": "x"', f'"sim_dir": "{name}"'))
    assert run_command(["merge", "a"]) == 2


def test_nothing_half_made_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [read_run(make_run("a", {"x": None}))]

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device", "a/x/log")

    monkeypatch.setattr(merged.shutil, "copytree", refuse)
    with pytest.raises(HostError, match="cannot copy a/x/log: No space left on device"):
        merged.write_merged(merge(runs), runs, Path("out"), None)
    assert list(Path("out").iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["empty"], ["file"], ["--work-dir", "file", "empty"]])
def test_nonsense_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    Path("empty").mkdir()
    Path("file").touch()
    assert run_command(["merge", *arguments]) == 2
    assert capsys.readouterr().err
    assert not Path(".patchbay-work").exists()


def test_the_project_says_where_runs_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    make_run("a", {"x": None})
    Path("patchbay.toml").write_text('work_dir = "runs"\n')
    assert run_command(["merge", "a"]) == 0
    assert (Path("runs") / "latest").is_symlink()
    assert not Path(".patchbay-work").exists()


def test_a_plan_of_nothing_can_be_merged(capsys: pytest.CaptureFixture[str]) -> None:
    no_plans: list[Plan] = []
    with RunDirectory.create(Path("a"), no_plans, shard=shard(2)):
        pass
    make_run("b", {"x": None}, shard(1))
    run, error = merged_run(capsys, "a", "b")
    assert (len(run.sims), run.manifest.success, error) == (1, True, "")
