"""`patchbay run --open`: looking on while a run runs, and after it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until

PATIENCE_S = 30

STEPS = """
[[step]]
action = "run"
id = "wait"
device = "client"
cmd = ["sh", "-c", "echo waiting; until test -e go; do sleep 0.05; done; exit 3"]
"""


@contextmanager
def opened(project: Project, sim: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The running command, the server's address and the run's name."""
    process = project.start(sim, "--open", "--bind", "127.0.0.1:0")
    assert process.stderr is not None
    try:
        found = re.fullmatch(r"live at (http://127\.0\.0\.1:\d+/)#/run/(\S+)\n", process.stderr.readline())
        assert found
        yield process, found[1], found[2]
    finally:
        process.kill()
        process.communicate()


def test_a_run_is_shown_while_it_runs_and_after_it_failed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with (
        opened(project, project.sim("web", STEPS)) as (process, url, run),
        httpx.Client(base_url=url, timeout=PATIENCE_S, trust_env=False) as client,
    ):
        kinds = []
        with client.stream("GET", f"api/stream?run={run}&sim=web") as stream:
            for line in stream.iter_lines():
                kinds += re.findall(r'"kind":"(\w+)"', line)
                if "process_started" in kinds and not (tmp_path / "go").exists():
                    assert client.get(f"api/runs/{run}").json()["status"] == "running"
                    (tmp_path / "go").touch()
                if "sim_finished" in kinds:
                    break
        wait_until(lambda: client.get(f"api/runs/{run}").json()["status"] == "error")
        (sim,) = client.get(f"api/runs/{run}").json()["simulations"]
        assert sim["failed_step"]["id"] == "wait"
        logs = {log["path"]: log for log in client.get(f"api/runs/{run}/sims/web/logs").json()["logs"]}
        (path,) = (path for path, log in logs.items() if (log["step"], log["stream"]) == ("wait", "stdout"))
        assert client.get(f"api/runs/{run}/sims/web/logs/{path}").json()["lines"] == ["waiting"]
        assert process.stderr is not None
        wait_until_line(process, "still at ")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 1
    wait_until(lambda: not project.processes())


def wait_until_line(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(beginning):
            return
    raise AssertionError(f"it never said {beginning}")


def test_who_stops_the_run_stops_everything(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with opened(project, project.sim("web", STEPS)) as (process, url, _):
        wait_until(project.has_event("web", "process_started"))
        assert httpx.get(url, timeout=PATIENCE_S, trust_env=False).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    wait_until(lambda: not project.processes())


def test_the_server_goes_with_a_runner_that_is_killed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with opened(project, project.sim("web", STEPS)) as (process, url, _):
        assert httpx.get(url, timeout=PATIENCE_S, trust_env=False).status_code == 200
        process.kill()
        process.wait(PATIENCE_S)
        wait_until(lambda: not project.processes())


def test_nothing_runs_where_the_page_cannot_be_served(tmp_path: Path) -> None:
    project = Project(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        ended = finish(project.start(project.sim("web", STEPS), "--open", "--bind", address))
    assert ended.returncode == 4
    assert "in use" in ended.stderr
    assert not (tmp_path / ".patchbay-work").exists()
