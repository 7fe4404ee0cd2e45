"""What CI services are given: JUnit XML, annotations, the summary of a step."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from patchbay_runner.cli.exports import Exports, annotate
from patchbay_runner.cli.main import run_command
from patchbay_runner.errors import Diagnostic, HostError
from patchbay_runner.model.recording import Failure
from patchbay_runner.results import step_summary
from patchbay_runner.results.github import Place, diagnostic_annotations, sim_annotations, split_origin
from patchbay_runner.results.junit import junit_xml
from patchbay_runner.results.record import RecordedRun, read_run
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, step_failure

FAILURES = {
    "ok": None,
    "step": step_failure(output=("connecting", "refused")),
    "lab": Failure(phase="lab", message="home: no address"),
    "late": Failure(phase="timeout", message="the sim took longer than 1 s"),
    "crash": Failure(phase="internal", message="KeyError: 'x'", traceback="Traceback\n  line"),
    "host": Failure(phase="host", message="no user namespaces"),
    "busy": Failure(phase="overloaded", message="3 links were late"),
    "cut": Failure(phase="interrupted", message="interrupted"),
}


def make_run(root: Path, failures: dict[str, Failure | None]) -> RecordedRun:
    """A finished run of sims with these ends, and one that never started."""
    with RunDirectory.create(root, [plan(name) for name in [*failures, "never"]]) as directory:
        for sim, failure in zip(directory.sims, failures.values(), strict=False):
            sim.start()
            sim.state.runtime_s = 1.5
            sim.end(failure)
    return read_run(directory.path)


@pytest.fixture
def run(tmp_path: Path) -> RecordedRun:
    return make_run(tmp_path, FAILURES)


@pytest.fixture(scope="session")
def schema(checkout: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(checkout / "tests" / "unit" / "junit.xsd"))


def test_junit_is_valid_and_says_what_became_of_every_sim(run: RecordedRun, schema: etree.XMLSchema) -> None:
    root = etree.fromstring(junit_xml(run))
    schema.assertValid(root)
    kinds = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert kinds == {
        "ok": [],
        "step": ["failure"],
        "lab": ["failure"],
        "late": ["failure"],
        "crash": ["error"],
        "host": ["error"],
        "cut": ["error"],
        "busy": ["skipped"],
        "never": ["skipped"],
    }
    counted = [sum(int(suite.get(name)) for suite in root) for name in ("tests", "failures", "errors", "skipped")]
    assert counted == [9, 3, 3, 2]
    case = root.find(".//testcase[@name='step']")
    assert (case.get("classname"), case.get("time")) == ("sims/step", "1.500")
    assert case.find("failure").get("message") == "fetcher exited with code 3"
    assert case.find("failure").text.splitlines() == [
        "sims/relay.toml:7: step 2: run fetcher on client",
        "fetcher exited with code 3",
        "| connecting",
        "| refused",
        f"record: {run.path.name}/step",
    ]
    assert case.getparent().find("system-out").text == f"step:\nrecord: {run.path.name}/step"


def test_variants_of_a_file_are_one_suite(tmp_path: Path, schema: etree.XMLSchema) -> None:
    plans = [plan("a", matrix={"n": 1}), plan("b"), plan("a", matrix={"n": 2})]
    plans = [each if each.name == "b" else type(each)(name=f"a-{each.matrix['n']}", source="a.toml") for each in plans]
    with RunDirectory.create(tmp_path, plans) as directory:
        pass
    root = etree.fromstring(junit_xml(read_run(directory.path)))
    schema.assertValid(root)
    told = [tuple(suite.get(name) for name in ("id", "package", "name", "tests")) for suite in root]
    assert told == [("0", "", "a.toml", "2"), ("1", "sims", "sims/b.toml", "1")]


def test_a_run_without_sims_is_valid(tmp_path: Path, schema: etree.XMLSchema) -> None:
    with RunDirectory.create(tmp_path, []) as directory:
        pass
    schema.assertValid(etree.fromstring(junit_xml(read_run(directory.path))))


@given(text=st.text(st.characters(codec=None, exclude_categories=()), max_size=40))
def test_whatever_a_program_prints_junit_stays_xml(
    tmp_path_factory: pytest.TempPathFactory, schema: etree.XMLSchema, text: str
) -> None:
    printed = text.encode(errors="replace").decode()  # records are UTF-8
    run = make_run(tmp_path_factory.mktemp("run"), {"s": step_failure(message=f"x{printed}", output=(printed,))})
    schema.assertValid(etree.fromstring(junit_xml(run)))
    (command,) = sim_annotations(run.sims, Place(None, Path()))
    assert re.fullmatch(r"::error file=sims/relay.toml,line=7,title=s failed::[^\r\n]*", command)
    assert step_summary.step_summary(run).startswith("## patchbay: ")


def test_annotations_stand_on_the_step_else_on_the_file(run: RecordedRun) -> None:
    commands = sim_annotations(run.sims, Place(None, Path()))
    assert [command.split("::")[1] for command in commands] == [
        "error file=sims/relay.toml,line=7,title=step failed",
        "error file=sims/lab.toml,line=1,title=lab failed",
        "error file=sims/late.toml,line=1,title=late failed",
        "error file=sims/crash.toml,line=1,title=crash failed",
        "error file=sims/host.toml,line=1,title=host failed",
        "warning file=sims/busy.toml,line=1,title=busy is overloaded",
        "warning file=sims/cut.toml,line=1,title=cut was interrupted",
    ]
    assert commands[0].endswith("::step 2, run fetcher: fetcher exited with code 3%0Aconnecting%0Arefused")


def test_what_commands_would_act_on_is_escaped() -> None:
    found = Diagnostic("a,b:c%.toml", 3, "step[0].cmd", "100% wrong:\r\nyes, no", "more")
    (command,) = diagnostic_annotations([found], Place(None, Path()))
    assert command == ("::error file=a%2Cb%3Ac%25.toml,line=3::step[0].cmd: 100%25 wrong:%0D%0Ayes, no; expected more")


@pytest.mark.parametrize(
    ("workspace", "cwd", "file", "shown"),
    [
        ("/w", "/w", "sims/a.toml", "sims/a.toml"),
        ("/w", "/w/sub", "sims/a.toml", "sub/sims/a.toml"),
        ("/w", "/w/sub", "../a.toml", "a.toml"),
        ("/w", "/elsewhere", "/w/a.toml", "a.toml"),
        ("/w", "/elsewhere", "a.toml", "a.toml"),
        (None, "/elsewhere", "a.toml", "a.toml"),
        ("", "/elsewhere", "a.toml", "a.toml"),
    ],
)
def test_files_are_named_from_the_workspace(workspace: str | None, cwd: str, file: str, shown: str) -> None:
    assert Place(workspace, Path(cwd)).of(file) == shown


@pytest.mark.parametrize(
    ("origin", "parts"),
    [("a.toml:7", ("a.toml", 7)), ("a.toml", ("a.toml", 0)), ("a:b.toml", ("a:b.toml", 0)), ("a:1:2", ("a:1", 2))],
)
def test_an_origin_in_its_parts(origin: str, parts: tuple[str, int]) -> None:
    assert split_origin(origin) == parts


def test_the_summary_has_what_failed_on_top_and_explains_it(run: RecordedRun) -> None:
    text = step_summary.step_summary(run)
    lines = text.splitlines()
    assert lines[0] == "## patchbay: 1 passed, 5 failed, 1 overloaded, 1 interrupted, 1 not run"
    assert lines[2] == "| Sim | File | Status | Duration | Reason |"
    assert lines[4] == "| step | sims/step.toml | ❌ failed | 1.5 s | fetcher exited with code 3 |"
    assert lines[12] == "| ok | sims/ok.toml | ✅ passed | 1.5 s |  |"
    assert (
        "Step 2: run fetcher on client (sims/relay.toml:7)\n\n    fetcher exited with code 3\n    │ connecting" in text
    )


def test_a_summary_is_never_larger_than_github_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = {f"s{number}": step_failure(output=("x" * 400,) * 20) for number in range(60)}
    run = make_run(tmp_path, failures)
    assert "… and 10 more that did not pass" in step_summary.step_summary(run)
    monkeypatch.setattr(step_summary, "MOST_BYTES", 100_000)
    text = step_summary.step_summary(run)
    assert 10_000 < len(text.encode()) <= 100_000
    assert "… and 11 more." in text
    assert "… and 55 more that did not pass" in text


def exported(run: RecordedRun, junit: Path | None, **environment: str) -> None:
    with Exports(junit, environment, None) as exports:
        exports.run = run.path


def test_nothing_is_written_unless_asked_for(run: RecordedRun, capsys: pytest.CaptureFixture[str]) -> None:
    exported(run, None, GITHUB_ACTIONS="false")
    assert capsys.readouterr() == ("", "")


def test_github_gets_annotations_and_a_summary_behind_what_is_there(
    run: RecordedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    exported(run, None, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert summary.read_text().startswith("# before\n## patchbay: 1 passed")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("::error ") == 5


def test_a_summary_that_cannot_be_written_is_said(
    run: RecordedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(run, None, GITHUB_STEP_SUMMARY=str(tmp_path / "nowhere" / "summary.md"))
    assert capsys.readouterr().err.startswith("warning: cannot write ")


def test_the_junit_file_replaces_an_older_one_and_makes_its_directory(run: RecordedRun, tmp_path: Path) -> None:
    file = tmp_path / "reports" / "junit.xml"
    for _ in range(2):
        exported(run, file)
        assert file.read_bytes() == junit_xml(run)
    with Exports(file, {}, None):
        pass  # it was killed before there was a run: nobody shall take the old file for its own
    assert not file.exists()


@pytest.mark.parametrize("place", ["file/junit.xml", "/proc/junit.xml", "loop"])
def test_a_junit_file_that_cannot_be_written_is_said_before_anything_runs(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(HostError, match="cannot write"), Exports(tmp_path / place, {}, None):
        pass


def test_a_pipe_is_no_junit_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    sim = tmp_path / "s.toml"
    sim.write_text(
        '[[router]]\nname = "r"\n[device.d.eth0]\ngateway = "r"\n[[step]]\naction = "wait"\nduration = "1s"\n'
    )
    work = str(tmp_path / "work")
    assert run_command(["run", str(sim), "--junit", str(tmp_path / "pipe"), "--work-dir", work]) == 2
    assert "is no regular file" in capsys.readouterr().err
    assert not Path(work).exists()


def test_problems_of_files_are_annotated_on_github_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text('[sim]\nnmae = "x"\n')
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    assert run_command(["plan", "s.toml"]) == 2
    assert "::error" not in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    assert run_command(["plan", "s.toml"]) == 2
    error = capsys.readouterr().err
    assert "s.toml:2: sim.nmae: " in error
    assert "::error file=s.toml,line=2::sim.nmae: unknown key" in error
    annotate([Diagnostic("x", 0, "", "y")], {})
    assert capsys.readouterr().err == ""
