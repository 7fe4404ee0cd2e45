"""`patchbay run --cluster` with a real Dask scheduler and real workers, some of which die, lie or cannot run labs."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import patchbay_runner
from tests.netns.support.dask_cluster import DaskCluster, worker_of
from tests.netns.support.run_records import assert_readable
from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until
from tests.pcapng import read

DEVICE = """
[[router]]
name = "home"
[device.client.eth0]
gateway = "home"
"""

# Uses a file of the project, a program of the project that lies beside another, and one from elsewhere.
TRAVELS = """
[matrix]
word = ["a", "b", "c"]

[[binary]]
name = "inside"
path = "target/inside"

[[binary]]
name = "outside"
path = "%s"

[[step]]
id = "look"
device = "client"
cmd = ["sh", "-c", "pwd; cat data/page.txt; ping -c 1 192.0.2.1 >/dev/null; echo ${matrix.word}; seq 100000 >&2"]

[[step]]
id = "inside"
device = "client"
cmd = ["${binary.inside}"]
[step.captures.said]
regex = "beside .*"

[[step]]
id = "outside"
device = "client"
cmd = ["${binary.outside}"]
"""

LONG = """
[[step]]
id = "long"
device = "client"
cmd = ["sh", "-c", "echo begun; sleep %s; echo over"]
[step.captures.begun]
regex = "begun"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    started = DaskCluster(tmp_path_factory.mktemp("dask"))
    yield started
    started.close()


@pytest.fixture
def workers(cluster: DaskCluster) -> Iterator[DaskCluster]:
    yield cluster
    cluster.close_workers()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def logs(run: Path) -> dict[str, str]:
    """What programs said, by file; a line with a path of the machine stands for itself."""
    found = {path.relative_to(run): path.read_text() for path in run.rglob("*.log")}
    return {str(path): re.sub(r"^/.*$", "DIRECTORY", text, flags=re.MULTILINE) for path, text in found.items()}


def test_what_sims_need_travels_once_and_what_they_leave_comes_home(
    workers: DaskCluster, project: Project, tmp_path: Path
) -> None:
    program(project.root / "target" / "inside", 'cat "$(dirname "$0")/beside"')
    (project.root / "target" / "beside").write_text("beside it\n")
    (project.root / "data").mkdir()
    (project.root / "data" / "page.txt").write_text("the page\n")
    sim = project.sim("web", TRAVELS % program(tmp_path / "elsewhere" / "outside", "echo outside; hostname"), DEVICE)
    here = project.run(sim, "--work-dir", tmp_path / "here")
    assert here.returncode == 0, here.stdout + here.stderr
    workers.work("only", labs=2)
    there = project.run(sim, "--cluster", workers.address)
    assert there.returncode == 0, there.stdout + there.stderr
    assert "worker only on" in there.stdout
    assert "sent 5 of 5 files" in there.stdout
    assert logs(project.latest) == logs(tmp_path / "here" / "latest")
    assert len(logs(project.latest)["web-a/nodes/client/look.stderr.log"]) > 500_000
    assert [project.read(f"web-{word}/results.json")["captures"]["inside.said"]["value"] for word in "abc"] == [
        "beside it"
    ] * 3
    assert [each["status"] for each in project.read("manifest.json")["simulations"]] == ["ok"] * 3
    assert_readable(project.latest)
    again = project.run(sim, "--cluster", workers.address, "--filter", "web-a", "--capture")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "sent 0 of 5 files" in again.stdout
    captured = read(project.latest / "web-a" / "captures" / "client.eth0.pcapng")
    assert captured.with_text(bytes((192, 0, 2, 1))), "the echo request is not there"


def test_one_interruption_brings_logs_home_and_a_sim_has_its_time(workers: DaskCluster, project: Project) -> None:
    workers.work("only", PATCHBAY_TEST_MARKER=project.marker)
    sims = [project.sim(name, LONG % "100", DEVICE) for name in ("one", "two")]
    process = project.start(*sims, "--cluster", workers.address)
    wait_until(project.has_event("one", "capture_recorded"), 60)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.returncode == 130, ended.stdout + ended.stderr
    assert [each["status"] for each in project.read("manifest.json")["simulations"]] == ["interrupted", "pending"]
    assert (project.latest / "one" / "nodes" / "client" / "long.stdout.log").read_text() == "begun\n"
    wait_until(lambda: len(project.processes()) == 1, 20)  # the worker itself
    ended = project.run(sims[0], "--cluster", workers.address, "--timeout", "1s")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert project.read("one/sim.json")["error"]["phase"] == "timeout"


def test_a_sim_whose_worker_dies_runs_again_elsewhere(workers: DaskCluster, project: Project) -> None:
    workers.work("first", PATCHBAY_TEST_MARKER=project.marker, NAP_S="100")
    process = project.start(project.sim("web", LONG % "$NAP_S", DEVICE), "--cluster", workers.address)
    wait_until(project.has_event("web", "process_started"), 60)
    assert worker_of(project, "web") == "first"
    workers.kill("first")
    workers.work("second", NAP_S="0")
    ended = finish(process)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "lost its worker first" in ended.stdout
    assert worker_of(project, "web") == "second"
    kinds = [event["kind"] for event in project.events("web")]
    assert kinds.index("worker_lost") > kinds.index("process_started")
    assert kinds.count("lab_created") == 2
    assert (project.latest / "web" / "nodes" / "client" / "long.stdout.log").read_text() == "begun\nover\n"
    assert project.read("web/sim.json")["steps_done"] == 1
    wait_until(lambda: not project.processes(), 20)


def test_a_sim_that_ends_its_worker_twice_is_to_blame_and_alone_the_second_time(
    workers: DaskCluster, project: Project
) -> None:
    workers.work("a", labs=2)
    sims = [project.sim("killer", LONG % "60", DEVICE), project.sim("other", LONG % "1", DEVICE)]
    process = project.start(*sims, "--cluster", workers.address)
    for sim in ("killer", "other"):
        wait_until(project.has_event(sim, "process_started"), 60)
    workers.kill("a")
    workers.work("b", labs=2)
    wait_until(lambda: worker_of(project, "killer") == "b", 60)
    assert [each["status"] for each in project.read("manifest.json")["simulations"]][1] in ("ok", "running")
    workers.kill("b")
    workers.work("c", labs=2)
    ended = finish(process)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    error = project.read("killer/sim.json")["error"]
    assert error["phase"] == "worker"
    assert re.fullmatch(r"its worker died both times: a on .+, then b on .+", error["message"])
    assert "because no worker survived it" in ended.stdout
    assert project.read("other/sim.json")["status"] == "ok"
    assert "b" not in [event.get("name") for event in project.events("other")]
    assert_readable(project.latest)


def test_workers_that_cannot_do_it_are_left_out_with_their_reason(
    workers: DaskCluster, project: Project, tmp_path: Path
) -> None:
    source = tmp_path / "other" / "patchbay_runner"
    shutil.copytree(Path(patchbay_runner.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__", "ui"))
    (source / "__init__.py").write_text('"""Another."""\n\n__version__ = "9.9.9"\n')
    workers.work("old", PYTHONPATH=str(source.parent))
    workers.work("bare", has_resource=False)
    workers.work("closed", has_networks=False)
    sim = project.sim("web", LONG % "0", DEVICE)
    ended = project.run(sim, "--cluster", workers.address, "--cluster-wait", "1s")
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert re.search(r"old: it has patchbay 9\.9\.9 \(\w+\), and this is", ended.stderr)
    assert "bare: it offers no labs; start it with --resources labs=N" in ended.stderr
    assert "closed: a sandbox cannot be made" in ended.stderr
    assert project.read("manifest.json")["simulations"][0]["status"] == "pending"


def test_a_cluster_without_workers_is_waited_for_and_then_told(workers: DaskCluster, project: Project) -> None:
    sim = project.sim("web", LONG % "0", DEVICE)
    ended = project.run(sim, "--cluster", workers.address, "--cluster-wait", "500ms")
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert f"no worker of {workers.address} came within 0.5 s" in ended.stderr
    assert f"dask worker {workers.address} --resources labs=N" in ended.stderr
