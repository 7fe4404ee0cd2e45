"""Command lines of inspect, run-in, shell and ps that come to nothing, and how shells are started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from patchbay_runner.cli.main import run_command
from patchbay_runner.cli.shell import bash_settings, shell_command

NO_NETWORK = "no network of yours is up; `patchbay inspect` builds one"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.toml").write_text('[[step-template]]\nname = "t"\ncmd = ["a"]\n')
    (tmp_path / "bad.toml").write_text('[[router]]\nname = "dc"\nnat = "hoem"\n')
    (tmp_path / "empty.toml").write_text("")
    (tmp_path / "dir").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("inspect", "Missing argument 'SIM|TOPOLOGY'"),
        ("inspect a b", "Got unexpected extra argument"),
        ("inspect dir", "dir: this does not name a file; expected one sim or topology file"),
        ("inspect *.toml", "*.toml: this does not name a file; expected one sim or topology file"),
        ("inspect lib.toml", "lib.toml: there is no network in this file; expected a sim"),
        ("inspect empty.toml", "empty.toml: there is no network in this file"),
        ("inspect bda.toml", 'bda.toml: there is no such file or directory (did you mean "bad.toml"?)'),
        ("inspect bad.toml", "bad.toml:3: router[0].nat: unknown"),
        ("inspect bad.toml --matrix x", "router[0].nat"),
        ("run-in", "Missing argument 'NODE'"),
        ("run-in client", "no program was given; `patchbay shell client` opens a shell"),
        ("run-in client --", "no program was given"),
        ("run-in client ls -l", "Put -- before the program: run-in NODE -- PROGRAM"),
        ("run-in client --inspct x -- ls", "No such option"),
        ("run-in client -- ls", NO_NETWORK),
        ("run-in client --inspect nonsense -- ls", "no network of yours is called nonsense"),
        ("shell", "Missing argument 'NODE'"),
        ("shell client", NO_NETWORK),
        ("shell client ls", "unexpected extra argument"),
        ("run bad.toml --pause-on-failure --cluster tcp://host:1", "waits for people on this machine"),
        ("ps everything", "unexpected extra argument"),
    ],
)
def test_nonsense_is_refused_with_a_word_why(
    command: str, complaint: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(command.split()) == 2
    assert complaint in capfd.readouterr().err
    assert not (place / "patchbay").exists()


def test_ps_without_networks(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["ps"]) == 0
    assert capfd.readouterr().err == "no network of yours is up\n"
    assert run_command(["ps", "--json"]) == 0
    assert capfd.readouterr() == ("", "")


def test_a_working_directory_that_is_gone(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gone = place / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    assert run_command(["run-in", "client", "--", "ls"]) == 2
    assert "the working directory is not there any more" in capfd.readouterr().err


def test_bash_reads_the_users_settings_and_then_the_prompt(place: Path) -> None:
    (place / ".bashrc").write_text("PS1='mine> '\n")
    settings = place / "settings"
    settings.write_text(f'{bash_settings("a b", 9)}echo "[$PS1]"\n')
    shown = subprocess.run(
        ["bash", "--noprofile", "--norc", str(settings)], env={"HOME": str(place)}, capture_output=True, check=True
    )
    assert shown.stdout == b"[(a b) mine> ]\n"


def test_each_shell_is_started_its_own_way() -> None:
    assert shell_command("/bin/bash", "client", 7)[0] == ["/bin/bash", "--rcfile", "/dev/fd/7"]
    argv, added = shell_command("/bin/dash", "client", 7)
    assert (argv, added["PS1"], added["PATCHBAY_NODE"]) == (["/bin/dash"], "(client) $ ", "client")
    argv, _ = shell_command("/usr/bin/fish", "client", 7)
    assert argv[:2] == ["/usr/bin/fish", "--init-command"]
