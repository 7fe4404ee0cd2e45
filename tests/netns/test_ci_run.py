"""`patchbay run` as a CI service starts it: reports, lines for machines, shards and their union, with real sims."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until

STEPS = """
[[step]]
action = "run"
id = "answer"
device = "client"
cmd = ["sh", "-c", "echo 42; echo '100% luck' >&2; exit ${matrix.code}"]
[step.captures.value]
regex = "\\\\d+"
"""
SLEEP = '\n[[step]]\naction = "run"\nid = "long"\ndevice = "client"\ncmd = ["sleep", "300"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def variants(project: Project, *codes: int) -> Path:
    """A sim with a variant for each exit code of its one program."""
    path = project.sim("s", STEPS)
    text = path.read_text().replace('name = "s"', 'name = "s${matrix.code}"')
    path.write_text(f"[matrix]\ncode = {list(codes)}\n{text}")
    return path


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_github_job_gets_json_annotations_summary_and_junit(project: Project, checkout: Path) -> None:
    summary = project.root / "summary.md"
    ended = project.run(
        "--jobs", "1", "--json", "--junit", "junit.xml", variants(project, 0, 3),
        GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(project.root), GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert ended.returncode == 1, ended.stderr

    lines = lines_of(ended.stdout)
    kinds = [line["type"] for line in lines if line["type"] != "event"]
    assert kinds == ["run_started", *["sim_started", "sim_finished"] * 2, "run_finished"]
    assert Path(lines[0]["directory"]) == project.latest.resolve()
    assert lines[-1]["exit_code"] == 1
    for sim in ("s0", "s3"):
        recorded = project.events(sim)[1:-1]
        told = [line["event"] for line in lines if line["type"] == "event" and line["sim_dir"] == sim]
        assert told == [{key: value for key, value in event.items() if key != "opid"} for event in recorded]
    finished = [line for line in lines if line["type"] == "sim_finished"]
    assert [line["simulation"] for line in finished] == project.read("manifest.json")["simulations"]
    assert finished[1]["error"] == project.read("s3/sim.json")["error"]

    assert "s3: failed" in ended.stderr
    line = 1 + (project.root / "s.toml").read_text().split("[[step]]")[0].count("\n")
    assert (
        f"::error file=s.toml,line={line},title=s3 failed::step 1, run answer: answer exited with code 3%0A100%25 luck"
        in ended.stderr.splitlines()
    )
    assert summary.read_text().startswith("## patchbay: 1 passed, 1 failed\n")
    schema = etree.XMLSchema(etree.parse(checkout / "tests" / "unit" / "junit.xsd"))
    report = etree.parse(project.root / "junit.xml")
    schema.assertValid(report)
    assert [case.get("name") for case in report.iter("testcase") if case.find("failure") is not None] == ["s3"]


def test_attempts_are_test_cases_of_their_own(project: Project, checkout: Path) -> None:
    ended = project.run("--repeat", "3", "--jobs", "2", "--junit", "junit.xml", variants(project, 0))
    assert ended.returncode == 0, ended.stderr
    report = etree.parse(project.root / "junit.xml")
    etree.XMLSchema(etree.parse(checkout / "tests" / "unit" / "junit.xsd")).assertValid(report)
    assert [case.get("name") for case in report.iter("testcase")] == ["s0 #1", "s0 #2", "s0 #3"]


def test_an_interrupted_run_leaves_its_report_and_last_line(project: Project) -> None:
    sims = project.sim("s", SLEEP), project.sim("later", SLEEP)
    process = project.start("--jobs", "1", "--json", "--junit", "junit.xml", *sims)
    wait_until(project.has_event("s", "process_started"), 60)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.returncode == 130
    assert lines_of(ended.stdout)[-1] == {
        "type": "run_finished", "run": project.latest.resolve().name, "exit_code": 130,
    }  # fmt: skip
    verdicts = {case.get("name"): case[0].tag for case in etree.parse(project.root / "junit.xml").iter("testcase")}
    assert verdicts == {"s": "error", "later": "skipped"}


def test_a_reader_of_json_that_goes_away_ends_nothing(project: Project) -> None:
    command = [sys.executable, "-m", "patchbay_runner", "run", "--json", str(variants(project, 0, 3))]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(
            command, cwd=project.root, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ended.returncode == 1, ended.stderr
    assert [sim["status"] for sim in project.read("manifest.json")["simulations"]] == ["ok", "error"]


def test_shards_and_their_union_are_what_one_run_would_be(project: Project) -> None:
    sim = variants(project, 0, 3, 4)
    codes = [
        project.run(sim, "--shard", f"{index}/4", "--work-dir", f"shards/{index}").returncode for index in (1, 2, 3, 4)
    ]
    assert codes == [0, 1, 1, 0], "the fourth has nothing to do"
    merged = subprocess.run(
        [sys.executable, "-m", "patchbay_runner", "merge", "shards", "--junit", "junit.xml"],
        cwd=project.root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (merged.returncode, merged.stderr) == (1, "")
    manifest = project.read("manifest.json")
    assert [(sim["sim"], sim["status"]) for sim in manifest["simulations"]] == [
        ("s0", "ok"), ("s3", "error"), ("s4", "error"),
    ]  # fmt: skip
    assert [part["shard"]["index"] for part in manifest["merged"]] == [1, 2, 3, 4]
    assert project.read("s0/results.json")["captures"]["answer.value"]["value"] == "42"
    assert (project.latest / "s4/nodes/client/answer.stderr.log").read_text() == "100% luck\n"
    assert len(list(etree.parse(project.root / "junit.xml").iter("testcase"))) == 3
