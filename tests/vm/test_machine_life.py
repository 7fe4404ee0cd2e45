"""The life of a real machine, on the host: one boot that a killed command begins, and all that a machine is for."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(900)
_COMMAND = (sys.executable, "-c", "from patchbay_runner.__main__ import vm; vm()")
_HARDWARE = ("--memory-mb", "768", "--cpus", "2", "--disk-gb", "6")
_SOON_S = 120.0


def environment() -> dict[str, str]:
    """What says, among much else, where the tests' image is."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


class Project:
    """A project with a machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / ".qemu-vm" / "patchbay-vm"

    def start(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*_COMMAND, *arguments], cwd=self.root, env=environment(), **more)

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [*_COMMAND, *arguments],
            cwd=self.root,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def ssh(self, *command: str, code: int = 0) -> str:
        return self.run("ssh", "--", *command, code=code)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    def processes(self) -> list[str]:
        """The command lines of all processes that are about this project's machine."""
        sockets = f"/tmp/patchbay-vm-{os.getuid()}-"
        listed = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout
        mine = [line for line in listed.splitlines() if str(self.state) in line or str(self.root / "out") in line]
        return [line for line in mine if sockets in line]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("a project, with odd names"))
    assert images.is_dir()
    made.root.joinpath("patchbay.toml").write_text('work_dir = "out"\n')
    try:
        begin_and_be_killed(made)
        made.run("up", *_HARDWARE)
        yield made
    finally:
        made.run("down")


def begin_and_be_killed(project: Project) -> None:
    """Leaves a machine that no command has seen answer."""
    with project.start("up", *_HARDWARE) as up:
        wait_for(lambda: project.status()["condition"] == "starting")
        up.kill()
    assert project.status()["condition"] == "starting"


def wait_for(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _SOON_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_machine_of_a_killed_command_was_taken_over(project: Project) -> None:
    status = project.status()
    assert status["condition"] == "running"
    assert len([line for line in project.processes() if "qemu-system" in line.split()[0]]) == 1
    assert {share["guest"] for share in status["shares"]} == {"/app", "/target", "/work"}


def test_a_second_up_does_nothing(project: Project) -> None:
    before = project.status()["pid"]
    took_s = []
    for _attempt in range(3):
        began = time.monotonic()
        project.run("up", *_HARDWARE)
        took_s.append(time.monotonic() - began)
    assert min(took_s) < 5  # 0.3 s where nothing else runs; a start takes far longer
    assert project.status()["pid"] == before


def test_what_the_guest_writes_is_on_the_host_at_once_and_belongs_to_its_user(project: Project) -> None:
    project.ssh("sh", "-c", "mkdir -p /work/run && echo written >/work/run/file && ln -sfn run /work/latest")
    file = project.root / "out" / "latest" / "file"
    assert file.read_text() == "written\n"
    assert file.stat().st_uid == os.getuid()
    project.root.joinpath("sim.toml").write_text("fresh\n")
    assert project.ssh("cat", "/app/sim.toml") == "fresh\n"


def test_what_is_read_only_stays_so_even_for_root_in_the_guest(project: Project) -> None:
    remount = "mount -o remount,rw /app; touch /app/made; mkdir /tmp/again"
    project.ssh("sudo", "sh", "-c", f"{remount}; exit 0")
    assert not (project.root / "made").exists()
    project.ssh("touch", "/target/made", code=1)


def test_exit_codes_words_and_input_come_through(project: Project) -> None:
    project.ssh("sh", "-c", "exit 9", code=9)
    project.ssh("sh", "-c", "kill -9 $$", code=137)
    assert project.ssh("printf", "%s|", "a b", "$HOME", "it's") == "a b|$HOME|it's|"
    with project.start("ssh", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.communicate(b"echo $((6 * 7))\n", timeout=60)[0] == b"42\n"


def test_signals_of_a_command_without_a_terminal_reach_the_guest(project: Project) -> None:
    with project.start("ssh", "--", "sh", "-c", "echo ready; exec sleep 500", stdout=subprocess.PIPE) as waiting:
        assert waiting.stdout
        assert waiting.stdout.readline() == b"ready\n"
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == 143
    project.ssh("pgrep", "-x", "sleep", code=1)


def test_ctrl_c_on_a_terminal_ends_the_command_in_the_guest(project: Project) -> None:
    assert on_a_terminal(project, ["ssh", "--", "sh", "-c", "tty; exec sleep 500"], b"/dev/pts/", b"\x03") == 130
    project.ssh("pgrep", "-x", "sleep", code=1)


def on_a_terminal(project: Project, arguments: Sequence[str], awaited: bytes, typed: bytes) -> int:
    """The exit code of a command to which something is typed once it has written something."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(project.root)
        os.execve(_COMMAND[0], [*_COMMAND, *arguments], environment())
    seen = b""
    while awaited not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, typed)
    try:
        while os.read(terminal, 1024):
            pass
    except OSError:
        pass  # Linux's way of saying that nobody has the terminal any more
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    return code


def test_down_leaves_the_disk_and_the_keys_and_up_finds_what_was_written(project: Project) -> None:
    project.ssh("sh", "-c", "echo kept >~/kept && sync")
    project.run("down")
    assert {path.name for path in project.state.iterdir()} == {"disk.qcow2", "disk.json", "keys"}
    assert project.processes() == []
    assert project.status()["condition"] == "stopped"
    project.run("up", *_HARDWARE)
    assert project.ssh("sh", "-c", "cat ~/kept") == "kept\n"
