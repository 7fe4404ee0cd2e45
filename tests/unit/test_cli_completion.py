"""`patchbay completion`, in the shells that are installed: bash by its own Tab key, the others by their parsers."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchbay_runner.cli.main import COMMANDS, run_command

PATIENCE_S = 60


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Sims, a library, a topology, something else, and a `patchbay` on the PATH."""
    for name, text in {
        "sims/ping-home.toml": '[sim]\nname = "x"',
        "sims/ping-nat.toml": '  [[step]]\naction = "wait"',
        "sims/deep/only.toml": "[sim]",
        "sims/library.toml": '[[template]]\nname = "[sim]"',
        "sims/notes.txt": "[sim]",
        "topos/a.toml": "[[router]]",
        ".hidden/x.toml": "[sim]",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    script = tmp_path / "bin" / "patchbay"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m patchbay_runner "$@"\n')
    script.chmod(0o755)
    return tmp_path


def environment(project: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{project / 'bin'}:{os.environ['PATH']}", "TERM": "dumb", "PS1": "$ "}


def completed(project: Path, *words: str) -> list[str]:
    """What the command answers to bash's script for the last of `words`."""
    asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_PATCHBAY_COMPLETE": "bash_complete"}
    done = subprocess.run(
        ["patchbay"],
        env={**environment(project), **asked},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_commands(project: Path) -> None:
    assert completed(project, "patchbay", "") == list(COMMANDS)
    assert completed(project, "patchbay", "fmt") == ["fmt-log"]


@pytest.mark.parametrize(
    ("incomplete", "found"),
    [
        ("", ["bin/", "sims/", "topos/"]),
        ("si", ["sims/deep/", "sims/ping-home.toml", "sims/ping-nat.toml"]),
        ("sims/p", ["sims/ping-home.toml", "sims/ping-nat.toml"]),
        ("sims/ping-n", ["sims/ping-nat.toml"]),
        ("sims/d", ["sims/deep/only.toml"]),
        ("sims/l", []),
        ("topos/", []),
        (".h", [".hidden/x.toml"]),
        ("nothing/here", []),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan", "matrix"])
def test_sims(project: Path, command: str, incomplete: str, found: list[str]) -> None:
    if command != "run" and incomplete not in ("", "si"):
        return
    assert completed(project, "patchbay", command, incomplete) == found


def test_absolute_paths_and_options(project: Path) -> None:
    assert completed(project, "patchbay", "run", f"{project}/sims/ping-n") == [f"{project}/sims/ping-nat.toml"]
    assert "--timeout" in completed(project, "patchbay", "run", "--t")
    assert completed(project, "patchbay", "fmt-log", "--level", "w") == ["warn"]
    assert completed(project, "patchbay", "completion", "") == ["bash", "zsh", "fish"]


class Terminal:
    """An interactive bash, and what its screen shows."""

    def __init__(self, project: Path) -> None:
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=project,
            env={**environment(project), "INPUTRC": "/dev/null", "HOME": str(project)},
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def until(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.screen:
            assert select.select([self._fd], [], [], max(0, deadline - time.monotonic()))[0], self.screen
            self.screen += os.read(self._fd, 4096).decode(errors="replace").replace("\a", "")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)


def test_the_tab_key_of_bash(project: Path) -> None:
    terminal = Terminal(project)
    try:
        terminal.type('eval "$(patchbay completion bash)"; echo loa""ded\n')
        terminal.until("loaded")
        terminal.screen = ""
        terminal.type("patchbay pl\t")
        terminal.until("patchbay plan ")
        terminal.type("si\t")
        terminal.until("plan sims/")
        terminal.type("ping-n\t")
        terminal.until("plan sims/ping-nat.toml ")
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_are_in_their_languages(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "patchbay" in script
    assert f"_PATCHBAY_COMPLETE={shell}_complete" in script
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=script, text=True, timeout=PATIENCE_S, check=True)


@pytest.mark.parametrize("arguments", [[], ["csh"], ["bash", "zsh"], ["--install"]])
def test_nonsense_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["completion", *arguments]) == 2
    assert "Error" in capsys.readouterr().err
