import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import CaptureValue, Failure, StepResult
from patchbay_runner.model.steps import Run, Wait
from patchbay_runner.model.topology import Origin
from patchbay_runner.results import lock, run
from patchbay_runner.results.documents import (
    CombinedResults,
    Manifest,
    PlanDocument,
    Progress,
    Sim,
    SimResults,
    Status,
)
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, read_json, recorder_of, step_failure


def test_a_run_is_named_by_its_second_and_runs_of_one_second_get_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Frozen(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2026, 3, 13, 12, 0, 59, tzinfo=UTC)

    monkeypatch.setattr(run, "datetime", Frozen)
    names = []
    for _ in range(3):
        with RunDirectory.create(tmp_path / "work", []) as directory:
            names.append(directory.path.name)
    assert names == ["sim-260313-120059", "sim-260313-120059-2", "sim-260313-120059-3"]
    assert (tmp_path / "work" / "latest").readlink() == Path("sim-260313-120059-3")


def test_every_sim_is_listed_as_pending_from_the_start(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan("a", matrix={"nat": "home"}), plan("b")]) as directory:
        manifest = read_json(directory.path / "manifest.json")
        assert manifest["status"] == "running"
        assert manifest["success"] is None
        assert [(sim["sim"], sim["status"], sim["matrix"]) for sim in manifest["simulations"]] == [
            ("a", "pending", {"nat": "home"}),
            ("b", "pending", {}),
        ]
        assert lock.is_held(directory.path)
    assert not lock.is_held(directory.path)


def test_the_manifest_holds_facts_and_no_variables_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "do-not-write-me")
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        pass
    environment = read_json(directory.path / "manifest.json")["environment"]
    assert environment["kernel"] == os.uname().release
    assert environment["current_dir"] == str(Path.cwd())
    assert all(b"do-not-write-me" not in path.read_bytes() for path in directory.path.glob("*.*"))


def test_sims_of_one_name_get_directories_of_their_own(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan("a b"), plan("a_b"), plan("a b")]) as directory:
        assert [sim.directory.name for sim in directory.sims] == ["a_b", "a_b-2", "a_b-3"]


def test_a_sim_keeps_its_plan_but_not_the_variables_of_its_steps(tmp_path: Path) -> None:
    fetch = Run(
        id="fetch", device="c", cmd=("curl", "a b"), env={"TOKEN": "do-not-write-me"}, origin=Origin("x.toml", 3)
    )
    sim = Plan(name="a", source="x.toml", steps=(fetch,), on_failure=(Wait(duration_s=1),))
    with RunDirectory.create(tmp_path, [sim]) as directory:
        directory.sims[0].start()
    text = (directory.sims[0].directory / "plan.json").read_text()
    assert "do-not-write-me" not in text
    first, last = msgspec.json.decode(text, type=PlanDocument).steps
    assert (first.index, first.action, first.id, first.device, first.origin) == (0, "run", "fetch", "c", "x.toml:3")
    assert (first.text, first.cmd) == ("curl 'a b'", ("curl", "a b"))
    assert (last.index, last.on_failure, last.text, last.cmd, last.id) == (0, True, "1s", None, None)


def test_progress_counts_what_is_done_and_names_what_runs(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan("a"), plan("b"), plan("c")]) as directory:
        first, second, _ = directory.sims
        first.start()
        first.end(step_failure())
        second.start()
        directory.write()
        progress = read_json(directory.path / "progress.json")
    counts = {key: progress[key] for key in ("total", "completed", "ok", "error", "current_sim")}
    assert counts == {"total": 3, "completed": 1, "ok": 0, "error": 1, "current_sim": "b"}


@pytest.mark.parametrize(
    ("failure", "status", "run_status"),
    [
        (None, Status.OK, "done"),
        (step_failure(), Status.ERROR, "done"),
        (Failure(phase="interrupted", message="interrupted"), Status.INTERRUPTED, "interrupted"),
        (Failure(phase="internal", message="killed", traceback="Traceback"), Status.ERROR, "done"),
    ],
)
def test_every_document_is_written_however_a_sim_ends(
    tmp_path: Path, failure: Failure | None, status: Status, run_status: str
) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        with recorder_of(sim) as recorder:
            recorder.captures({"x.n": CaptureValue("1", ("1",), 1)})
            recorder.results([StepResult(id="x", duration="1.5")])
            if failure is None:
                recorder.finished(None)
        sim.end(failure)
    documents = {
        "manifest.json": Manifest,
        "progress.json": Progress,
        "combined-results.json": CombinedResults,
        "relay/sim.json": Sim,
        "relay/results.json": SimResults,
    }
    for name, kind in documents.items():
        document = msgspec.json.decode((directory.path / name).read_bytes(), type=kind)
        assert document.schema == 1
    results = read_json(directory.path / "relay" / "results.json")
    assert results["status"] == status.value
    assert results["captures"] == {"x.n": {"value": "1", "history": ["1"]}}
    assert results["steps"][0]["duration"] == "1.5"
    assert read_json(directory.path / "manifest.json")["status"] == run_status
    assert (directory.path / "relay" / "results.md").read_text().startswith("# relay\n")
    assert (directory.path / "combined-results.md").read_text().startswith("# sim-")
    has_traceback = failure is not None and failure.traceback != ""
    assert (directory.path / "relay" / "traceback.txt").exists() == has_traceback


def test_a_sim_without_a_verdict_of_its_own_takes_the_one_it_is_given(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        sim.feed(b'{"type":"event","timestamp":"t","kind":"step_started","fields":{"step":0}}\n{"type":"eve')
        sim.end(Failure(phase="internal", message="the sandbox was killed"))
    assert read_json(directory.path / "manifest.json")["simulations"][0]["error"] == "the sandbox was killed"


def test_what_still_runs_when_a_run_is_cut_short_was_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunDirectory.create(tmp_path, [plan()]) as directory:
        directory.sims[0].start()
        raise KeyboardInterrupt
    manifest = read_json(directory.path / "manifest.json")
    assert (manifest["status"], manifest["simulations"][0]["status"]) == ("interrupted", "interrupted")
    assert read_json(directory.sims[0].directory / "sim.json")["status"] == "interrupted"


def test_a_run_may_be_interrupted_between_sims(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        sim.end(None)
        directory.was_interrupted = True
    manifest = read_json(directory.path / "manifest.json")
    assert (manifest["status"], manifest["simulations"][0]["status"]) == ("interrupted", "ok")


def test_messages_may_be_cut_anywhere(tmp_path: Path) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        stream = b'{"type":"event","timestamp":"t","kind":"a"}\n{"type":"event","timestamp":"t","kind":"b"}\n'
        kinds = [event.kind for at in range(len(stream)) for event in sim.feed(stream[at : at + 1])]
        assert kinds == ["a", "b"]


def test_documents_of_a_running_sim_follow_what_it_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RunDirectory.create(tmp_path, [plan()]) as directory:
        (sim,) = directory.sims
        sim.start()
        with recorder_of(sim) as recorder:
            recorder.captures({"x.n": CaptureValue("1", ("1",), 1)})
        sim.write_if_due()
        assert read_json(sim.directory / "results.json")["captures"] == {}
        monkeypatch.setattr(sim, "_next_write_s", 0.0)
        sim.write_if_due()
        assert read_json(sim.directory / "results.json")["captures"]["x.n"]["value"] == "1"


def test_a_directory_in_the_place_of_the_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(HostError, match="in the way of the link"):
        RunDirectory.create(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_a_defect_ends_the_run_as_interrupted(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), RunDirectory.create(tmp_path, [plan()]) as directory:
        raise ZeroDivisionError
    assert read_json(directory.path / "manifest.json")["status"] == "interrupted"
    assert not lock.is_held(directory.path)
