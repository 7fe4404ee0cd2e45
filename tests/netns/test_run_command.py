"""`patchbay run` from its arguments to its exit code, with real networks and programs."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchbay_runner.results import lock
from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until

FETCH = """
[[step]]
action = "gen-file"
id = "page"
content = "hello from $NETSIM_IP_SERVER"

[[step]]
action = "spawn"
id = "web"
device = "server"
cmd = ["python3", "-u", "-m", "http.server", "8000", "--directory", "/"]
[step.captures.ready]
regex = "Serving"

[[step]]
action = "run"
id = "fetch"
device = "client"
requires = ["web.ready"]
parser = "json"
cmd = ["curl", "-sS", "-o", "/dev/null", "-w", '{"bytes": %{size_download}, "s": %{time_total}}',
       "http://$NETSIM_IP_SERVER:8000${page.path}"]
[step.captures.bytes]
pick = ".bytes"
[step.captures.seconds]
pick = ".s"
[step.results]
duration = "fetch.seconds"
down_bytes = "fetch.bytes"

[[step]]
action = "assert"
check = "fetch.bytes == 21"
"""

FAIL = """
[[step]]
action = "run"
id = "broken"
device = "client"
cmd = ["sh", "-c", "echo trying; echo 'no such luck' >&2; exit 3"]
"""

LONG = """
[[step]]
action = "run"
id = "measured"
device = "client"
cmd = ["sh", "-c", "echo 42"]
[step.captures.value]
regex = "\\\\d+"

[[step]]
action = "run"
id = "long"
device = "client"
cmd = ["sh", "-c", "%s sleep 300 & sleep 300"]
"""

DOCUMENTS = {"manifest.json", "progress.json", "combined-results.json", "combined-results.md", ".lock"}
SIM_DOCUMENTS = {"sim.json", "plan.json", "results.json", "results.md", "events.jsonl", "state.json"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_sim_that_passes_leaves_the_whole_record(project: Project) -> None:
    ended = project.run(project.sim("web", FETCH))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "web: passed, 4 steps" in ended.stdout
    assert "1 passed in " in ended.stdout
    assert project.latest.readlink().name.startswith("sim-")
    assert {path.name for path in project.latest.iterdir()} == DOCUMENTS | {"web"}
    assert {path.name for path in (project.latest / "web").iterdir()} == SIM_DOCUMENTS | {"nodes", "files"}

    assert (project.latest / "web/files/page/content").read_text() == "hello from 198.18.1.2"
    assert '"bytes": 21' in (project.latest / "web/nodes/client/fetch.stdout.log").read_text()
    assert '"bytes": 21' in (project.latest / "web/nodes/client/stdout.log").read_text()

    (sim,) = project.read("manifest.json")["simulations"]
    assert (sim["sim"], sim["status"], sim["error"]) == ("web", "ok", None)
    assert project.read("manifest.json")["success"] is True
    assert project.read("progress.json")["completed"] == 1
    results = project.read("web/results.json")
    assert results["status"] == "ok"
    assert results["captures"]["fetch.bytes"] == {"value": "21", "history": ["21"]}
    assert results["captures"]["fetch.exit_code"]["value"] == "0"
    (step,) = results["steps"]
    assert (step["id"], step["down_bytes"], step["up_bytes"]) == ("fetch", "21", None)
    assert project.read("combined-results.json")["runs"][0]["steps"] == [step]
    setup = project.read("web/sim.json")["setup"]
    assert (setup["routers"], setup["devices"], setup["steps"], setup["topology_mode"]) == (2, 2, 4, "inline")
    kinds = [event["kind"] for event in project.events("web")]
    assert kinds[0] == "sim_started"
    assert kinds[-1] == "sim_finished"
    assert kinds.count("step_finished") == 4
    assert {"router_added", "device_added", "process_started", "process_exited"} <= set(kinds)
    assert not lock.is_held(project.latest)
    assert project.processes() == {}


def test_a_sim_that_fails_is_explained_and_the_others_run(project: Project) -> None:
    ended = project.run(project.sim("bad", FAIL), project.sim("web", FETCH))
    assert ended.returncode == 1
    assert "bad failed in step 1/1: run broken on client (bad.toml:" in ended.stdout
    assert "exited with code 3" in ended.stdout
    assert "│ no such luck" in ended.stdout
    assert "/bad/nodes/client/broken.stderr.log" in ended.stdout
    assert "1 passed, 1 failed in " in ended.stdout
    error = project.read("bad/sim.json")["error"]
    assert (error["phase"], error["step"]["action"], error["step"]["id"]) == ("step", "run", "broken")
    assert error["output"] == ["no such luck"]
    results = project.read("bad/results.json")
    assert results["status"] == "error"
    assert results["captures"]["broken.exit_code"]["value"] == "3"
    assert "no such luck" in (project.latest / "bad/results.md").read_text()
    assert project.read("web/results.json")["status"] == "ok"


def test_a_file_that_is_wrong_stops_everything_before_it_runs(project: Project) -> None:
    ended = project.run(project.sim("web", FETCH), project.sim("wrong", FETCH.replace("device =", "devise =")))
    assert ended.returncode == 2
    assert "wrong.toml:" in ended.stderr
    assert "nothing was run" in ended.stderr
    assert not project.latest.exists()


def test_a_binary_that_is_not_there_stops_everything_before_it_runs(project: Project) -> None:
    binaries = '[[binary]]\nname = "tool"\npath = "bin/tool"\n'
    step = '[[step]]\naction = "run"\ndevice = "client"\ncmd = ["${binary.tool}"]\n'
    sim = project.sim("tools", binaries + step)
    ended = project.run(sim)
    assert ended.returncode == 2
    assert f"there is no {project.root}/bin/tool" in ended.stderr
    assert not project.latest.exists()
    tool = project.root / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho works\n")
    tool.chmod(0o755)
    assert project.run(sim).returncode == 0
    assert (project.latest / "tools/nodes/client/client.stdout.log").read_text() == "works\n"


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_a_run_cleanly(project: Project, signum: signal.Signals) -> None:
    process = project.start(project.sim("slow", LONG % ""), project.sim("web", FETCH), "--jobs", "1")
    wait_until(lambda: "sleep" in str(project.processes()))
    process.send_signal(signum)
    ended = finish(process, 15)
    assert ended.returncode == 130
    assert "stopping; once more ends it at once" in ended.stdout
    assert "1 interrupted, 1 not run in " in ended.stdout
    results = project.read("slow/results.json")
    assert results["status"] == "interrupted"
    assert results["captures"]["measured.value"]["value"] == "42"
    manifest = project.read("manifest.json")
    assert manifest["status"] == "interrupted"
    assert [sim["status"] for sim in manifest["simulations"]] == ["interrupted", "pending"]
    assert project.processes() == {}


def test_a_second_signal_ends_it_at_once(project: Project) -> None:
    process = project.start(project.sim("slow", LONG % "trap '' TERM HUP INT;"))
    wait_until(lambda: "sleep" in str(project.processes()))
    wait_until(project.has_event("slow", "capture_recorded"))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None, "programs that ignore SIGTERM get a second"
    asked_s = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended = finish(process, 15)
    assert time.monotonic() - asked_s < 0.7
    assert ended.returncode == 130
    assert project.read("slow/results.json")["captures"]["measured.value"]["value"] == "42"
    assert project.processes() == {}


def test_a_sandbox_that_is_killed_is_a_defect_and_the_others_run(project: Project) -> None:
    process = project.start(project.sim("slow", LONG % ""), project.sim("web", FETCH), "--jobs", "1")
    wait_until(lambda: "sleep" in str(project.processes()))
    wait_until(project.has_event("slow", "capture_recorded"))
    (agent,) = [pid for pid, shown in project.processes().items() if shown.startswith("2 ")]
    os.kill(agent, signal.SIGKILL)
    ended = finish(process)
    assert ended.returncode == 3
    assert "slow failed because its sandbox did not survive" in ended.stdout
    assert "SIGKILL" in ended.stdout
    assert project.read("slow/sim.json")["error"]["phase"] == "internal"
    assert project.read("slow/results.json")["captures"]["measured.value"]["value"] == "42"
    assert project.read("web/results.json")["status"] == "ok"
    assert project.processes() == {}


def test_a_run_that_is_killed_leaves_its_record_and_nothing_else(project: Project) -> None:
    process = project.start(project.sim("slow", LONG % "trap '' TERM HUP INT;"))
    wait_until(project.has_event("slow", "process_exited"))
    wait_until(lambda: [event["kind"] for event in project.events("slow")].count("process_started") == 2)
    assert lock.is_held(project.latest)
    process.kill()
    finish(process)
    wait_until(lambda: project.processes() == {})
    assert project.read("manifest.json")["status"] == "running"
    assert not lock.is_held(project.latest)
    assert project.read("slow/sim.json")["status"] == "running"
    assert project.events("slow")[-1]["kind"] in ("process_started", "capture_recorded")


def test_the_timeout_holds_inside_a_step(project: Project) -> None:
    started_s = time.monotonic()
    ended = project.run(project.sim("slow", LONG % ""), "--timeout", "1s")
    assert time.monotonic() - started_s < 10
    assert ended.returncode == 1
    assert project.read("slow/sim.json")["error"]["phase"] == "timeout"


def test_a_reader_that_leaves_does_not_stop_the_sims(project: Project) -> None:
    with project.start(project.sim("web", FETCH)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert project.read("web/results.json")["status"] == "ok"


def test_closed_standard_streams_do_no_harm(project: Project) -> None:
    sim = project.sim("web", FETCH)
    command = f"exec {sys.executable} -m patchbay_runner run {sim} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=project.root, check=False).returncode == 0
    assert project.read("web/results.json")["status"] == "ok"


def test_a_run_under_nohup_outlives_its_terminal(project: Project) -> None:
    steps = '[[step]]\naction = "wait"\nduration = "1s"\n'
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = project.start(project.sim("patient", steps))
    finally:
        signal.signal(signal.SIGHUP, hangup)
    wait_until(project.has_event("patient", "step_started"))
    process.send_signal(signal.SIGHUP)
    assert finish(process).returncode == 0


def test_verbose_shows_steps_and_captures(project: Project) -> None:
    ended = project.run(project.sim("web", FETCH), "-v")
    assert "[1/1] web: step 3/4: run fetch on client" in ended.stdout
    assert "[1/1] web: fetch.bytes = 21" in ended.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be sudo")
def test_under_sudo_everything_belongs_to_the_calling_user(project: Project) -> None:
    certificate = '[[step]]\naction = "gen-certs"\nid = "cert"\ndevice = "server"\n'
    ended = project.run(project.sim("web", FETCH + certificate), SUDO_UID="1000", SUDO_GID="1001")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    paths = [project.root / ".patchbay-work", *(project.root / ".patchbay-work").rglob("*")]
    assert len(paths) > 20
    for path in paths:
        status = path.lstat()
        assert (status.st_uid, status.st_gid) == (1000, 1001), path
    assert stat.S_IMODE((project.latest / "web/certs/cert/key.pem").stat().st_mode) == 0o600
