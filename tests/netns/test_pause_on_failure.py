"""`patchbay run --pause-on-failure`: what failed is there to be looked at, until somebody has seen enough."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.inspecting import PATH, User
from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until
from tests.netns.support.terminal import open_terminal

SERVED_THEN_FAILED = """
[[step]]
action = "spawn"
id = "web"
device = "server"
cmd = ["python3", "-u", "-m", "http.server", "8000", "--directory", "/etc"]
[step.captures.ready]
regex = "Serving"
[[step]]
id = "check"
device = "client"
requires = ["web.ready"]
cmd = ["sh", "-c", "echo 'no such luck'; exit 3"]
"""
FOREVER = """
[[step]]
id = "long"
device = "client"
cmd = ["sleep", "300"]
"""
SPAWNED_THEN_FAILED = """
[[step]]
action = "spawn"
id = "long"
device = "client"
cmd = ["sleep", "300"]
[[step]]
device = "client"
cmd = ["false"]
"""
PASSES = """
[[step]]
device = "client"
cmd = ["true"]
"""


@pytest.fixture
def user(tmp_path: Path) -> User:
    (tmp_path / "project").mkdir()
    return User(Project(tmp_path / "project"), tmp_path)


def paused(user: User, *arguments: str | Path) -> tuple[subprocess.Popen[str], list[dict[str, Any]]]:
    """A run whose every sim has come to its pause, and how they are listed."""
    streams: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    command = ("run", *arguments, "--pause-on-failure")
    process = user.popen(*command, stdin=subprocess.DEVNULL, text=True, **streams)

    def listed() -> list[dict[str, Any]]:
        return [json.loads(line) for line in user.patchbay("ps", "--json").stdout.splitlines()]

    sims = sum(isinstance(argument, Path) for argument in arguments)
    wait_until(lambda: sum(lab["is_paused"] for lab in listed()) == sims, 60)
    return process, listed()


def test_the_network_and_its_programs_stay_until_a_key_is_pressed(user: User) -> None:
    user.project.sim("bad", SERVED_THEN_FAILED)
    with open_terminal(user.project.root, XDG_RUNTIME_DIR=str(user.runtime), PATH=PATH) as terminal:
        terminal.type("patchbay run bad.toml --pause-on-failure; echo code $?")
        terminal.until("bad: failed in step 2/2: run check on client: .*exited with code 3; its network stays up")
        terminal.until("patchbay run-in NODE -- COMMAND")
        terminal.until("press any key to go on")
        found = user.run_in("client", "curl", "-sS", "http://server:8000/hostname")
        assert (found.returncode, found.stdout) == (0, Path("/etc/hostname").read_text())
        assert "paused" in terminal.screen()
        terminal.press("x")
        terminal.until("^code 1")
        terminal.type("clear; stty -a | grep -o ' icanon'")  # the terminal is as it was
        terminal.until("^ icanon")
    assert user.listed == []
    kinds = [event["kind"] for event in user.project.events("bad")]
    assert kinds.index("sim_paused") < kinds.index("sim_resumed") < kinds.index("sim_finished")


def test_ctrl_c_at_the_pause_ends_the_run(user: User) -> None:
    user.project.sim("bad", SERVED_THEN_FAILED)
    with open_terminal(user.project.root, XDG_RUNTIME_DIR=str(user.runtime), PATH=PATH) as terminal:
        terminal.type("patchbay run bad.toml --pause-on-failure; echo code $?")
        terminal.until("press any key to go on")
        terminal.press("C-c")
        terminal.until("^code 130")
    assert user.project.read("bad/sim.json")["status"] == "error"


def test_without_a_terminal_each_sigint_lets_one_go_on(user: User) -> None:
    sims = [user.project.sim("late", SPAWNED_THEN_FAILED), user.project.sim("bad", SERVED_THEN_FAILED)]
    process, listed = paused(user, *sims, user.project.sim("good", PASSES).name, "--jobs", "3")
    assert {lab["name"] for lab in listed} == {"late", "bad"}
    refused = user.run_in("client", "hostname")
    assert "several networks are up" in refused.stderr
    assert user.patchbay("run-in", "client", "--inspect", "late", "--", "pgrep", "sleep").stdout
    process.send_signal(signal.SIGINT)
    wait_until(lambda: len(user.listed) == 2, 60)
    process.send_signal(signal.SIGINT)
    ended = finish(process)
    assert ended.returncode == 1
    assert "Ctrl-C or kill -INT" in ended.stdout
    states = {sim["sim"]: sim["status"] for sim in user.project.read("manifest.json")["simulations"]}
    assert states == {"late": "error", "bad": "error", "good": "ok"}


def test_a_paused_sim_that_is_killed_ends_its_pause(user: User) -> None:
    process, _ = paused(user, user.project.sim("bad", SERVED_THEN_FAILED))
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert ended.returncode == 130
    assert user.listed == []
    assert user.project.processes() == {}


def test_a_running_sim_can_be_entered(user: User) -> None:
    user.project.sim("long", FOREVER)
    process = user.popen("run", "long.toml", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(user.project.has_event("long", "process_started"), 60)
    assert user.run_in("client", "pgrep", "-a", "sleep").stdout.endswith("sleep 300\n")
    assert "run of long.toml" in user.patchbay("ps").stdout
    process.send_signal(signal.SIGINT)
    assert finish(process).returncode == 130
