"""Commands and files in a guest, with an ssh that stays on this host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm.guest import Guest
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.ssh import Door

_SSH = """#!/bin/sh
for last; do :; done
exec sh -c "$last"
"""


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guest:
    programs = tmp_path / "bin"
    programs.mkdir()
    programs.joinpath("ssh").write_text(_SSH)
    programs.joinpath("ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return make(tmp_path)


def make(directory: Path) -> Guest:
    door = Door(2222, "dev", directory / "a key", directory / "100%", directory / "control", "machine")
    return Guest(door, (Share("app", Path("/p"), "/app"), Share("work", Path("/p/out"), "/work", is_writable=True)))


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 255", 255), ("nonesuch", 127)]
)
def test_exit_codes_are_those_of_the_command(guest: Guest, script: str, code: int) -> None:
    assert guest.run(["sh", "-c", script], stderr=subprocess.DEVNULL) == code


def test_words_environment_and_directory_arrive_as_they_are(guest: Guest, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["a b", "$HOME", "it's", '"', "*", ""]
    with out.open("wb") as stream:
        program = "import os, sys; print(sys.argv[1:], os.environ['SAID'], os.getcwd())"
        assert guest.run([sys.executable, "-c", program, *words], env={"SAID": "x  y"}, cwd="/usr", stdout=stream) == 0
    assert out.read_text() == f"{words} x  y /usr\n"


def test_no_option_of_the_user_counts_and_paths_may_hold_anything(guest: Guest, tmp_path: Path) -> None:
    command = guest.command(["true"])
    assert command[:3] == ["ssh", "-F", "none"]
    assert f'IdentityFile="{tmp_path}/a key"' in command
    assert f'UserKnownHostsFile="{tmp_path}/100%%"' in command
    assert "127.0.0.1" in command


def test_the_innermost_share_says_where_a_file_is_in_the_guest(guest: Guest) -> None:
    assert guest.inside(Path("/p/sims/a.toml")) == "/app/sims/a.toml"
    assert guest.inside(Path("/p/out/run")) == "/work/run"
    assert guest.inside(Path("/pp")) is None


def test_trees_are_copied_in_and_out(guest: Guest, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    source.joinpath("below").mkdir(parents=True)
    source.joinpath("below", "file").write_text("content")
    source.joinpath("link").symlink_to("below/file")
    guest.copy_in(source, str(tmp_path / "there it" / "is"))
    guest.copy_out(str(tmp_path / "there it" / "is" / "tree"), tmp_path / "back")
    assert (tmp_path / "back" / "tree" / "link").read_text() == "content"
    with pytest.raises(HostError, match="nonesuch"):
        guest.copy_out(str(tmp_path / "nonesuch"), tmp_path)
    with pytest.raises(HostError, match="copying failed"):
        guest.copy_in(source, "/proc/nowhere")


def test_a_command_that_must_not_fail_says_why_it_did(guest: Guest) -> None:
    assert guest.output(["echo", "fine"]) == "fine\n"
    with pytest.raises(HostError, match=r"failed in the virtual machine: .*No such file"):
        guest.output(["cat", "/nonesuch"])
    with pytest.raises(HostError, match="took more than"):
        guest.output(["sleep", "60"], timeout_s=0.2)


@pytest.mark.parametrize(
    ("number", "script", "code"),
    [
        (signal.SIGINT, "echo ready; exec sleep 60", 130),
        (signal.SIGTERM, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done", 9),
        (signal.SIGHUP, "(exec sleep 60) & echo ready; wait", 129),
    ],
)
def test_signals_reach_the_command_and_all_that_it_started(
    guest: Guest, tmp_path: Path, number: signal.Signals, script: str, code: int
) -> None:
    program = f"""
import sys
from pathlib import Path
from tests.unit.test_vm_guest import make
sys.exit(make(Path({str(tmp_path)!r})).run(["sh", "-c", {script!r}]))
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == code
        # The pipe ends when nobody has it any more.
        assert process.stdout.read() == b""
        assert time.monotonic() - began < 30
