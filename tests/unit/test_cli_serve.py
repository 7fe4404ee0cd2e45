"""`patchbay serve` as people use it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from patchbay_runner.cli.main import run_command
from tests.unit.server_support import PATIENCE_S, eventually, make_run


@contextmanager
def serve(*arguments: str | Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command, and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "patchbay_runner", "serve", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    ) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.match(r"(http://\S+/) shows ", line)
            assert found, line + process.stderr.read()
            yield process, found[1]
        finally:
            process.kill()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_runs_are_served_until_a_signal(tmp_path: Path, signum: signal.Signals) -> None:
    run = make_run(tmp_path)
    with serve(tmp_path, "--bind", ":0") as (process, url):
        listed = httpx.get(f"{url}api/runs", timeout=PATIENCE_S, trust_env=False).json()["runs"]
        assert [each["name"] for each in listed] == [run.name]
        with httpx.stream("GET", f"{url}api/stream?runs=true", timeout=PATIENCE_S, trust_env=False) as stream:
            assert next(stream.iter_lines()) == "event: ready"
            process.send_signal(signum)
            assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_browser_is_opened(tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" >{opened}.new\nmv {opened}.new {opened}\n')
    browser.chmod(0o755)
    without_sudo = {"BROWSER": f"{browser} %s"} if "SUDO_UID" not in os.environ else pytest.skip("needs no sudo")
    with serve(tmp_path, "--open", "--bind", "127.0.0.1:0", **without_sudo) as (_, url):
        eventually(opened.exists)
        assert opened.read_text() == f"{url}\n"


def test_who_binds_to_more_than_this_machine_is_told(tmp_path: Path) -> None:
    with serve(tmp_path, "--bind", "0.0.0.0:0") as (process, url):
        assert process.stderr is not None
        assert "there is no password" in process.stderr.readline()
        reply = httpx.get(f"{url}api/runs", headers={"Host": "ci.example"}, timeout=PATIENCE_S, trust_env=False)
        assert reply.status_code == 200


def test_it_ends_when_its_runner_does(tmp_path: Path) -> None:
    """As `patchbay run --open` starts it: on a socket that it inherits, for as long as a pipe is open."""
    listener = socket.create_server(("127.0.0.1", 0))
    command = [sys.executable, "-m", "patchbay_runner", "serve", str(tmp_path), "--listen-fd", str(listener.fileno())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as process:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/healthz"
        assert httpx.get(url, timeout=PATIENCE_S, trust_env=False).json() == {"status": "ok"}
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(PATIENCE_S) == 0
    listener.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--bind", "x:y"],
        ["--bind", "1:2:3"],
        ["--bind", "99999"],
        ["--bind", ""],
        ["--bind", "localhost:"],
        ["--bind", "[::1"],
        ["--bind", "http://localhost:80"],
        ["--bind", "a b:1"],
        ["nowhere"],
        ["file"],
        [".", "."],
    ],
)
def test_nonsense_is_refused(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".patchbay-work").mkdir()
    (tmp_path / "file").touch()
    assert run_command(["serve", *arguments]) == 2
    assert "Error: " in capsys.readouterr().err


def test_an_address_that_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run_command(["serve", str(tmp_path), "--bind", f"127.0.0.1:{other.getsockname()[1]}"]) == 4
    error = capsys.readouterr().err
    assert "in use" in error
    assert "try: " in error


def test_a_run_does_not_say_where_to_serve_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["run", "x.toml", "--bind", "8080"]) == 2
    assert "--open is missing" in capsys.readouterr().err
