"""`patchbay run --cluster` with command lines that make no sense, and what its inner command answers to nonsense."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from patchbay_runner.cli.main import run_command
from patchbay_runner.cluster import dask
from patchbay_runner.cluster.dask import Cluster
from patchbay_runner.errors import HostError

SIM = """
[sim]
name = "web"
[[router]]
name = "home"
[device.client.eth0]
gateway = "home"
[[step]]
device = "client"
cmd = ["true"]
"""


def run(directory: Path, *arguments: str) -> int:
    sim = directory / "web.toml"
    sim.write_text(SIM)
    code = run_command(["run", str(sim), "--work-dir", str(directory / "runs"), *arguments])
    assert not (directory / "runs").exists()
    return code


@pytest.mark.parametrize(
    "address",
    ["", "head", "head:", ":8786", "tcp://", "http://head:8786", "head:99999", "head:0", "a b:1", "tcp://::1:8786"],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert run(tmp_path, "--cluster", address) == 2
    assert f"{address!r} is no address of a scheduler, such as tcp://head:8786" in capsys.readouterr().err


def test_a_wait_without_a_cluster_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--cluster-wait", "5s") == 2
    assert "--cluster is missing" in capsys.readouterr().err


def test_without_dask_its_installation_is_advised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert run(tmp_path, "--cluster", "tcp://[::1]:8786") == 2
    assert "pip install 'patchbay-runner[cluster]'" in capsys.readouterr().err


def test_a_scheduler_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask, "_CONNECT_S", 0.5)
    with pytest.raises(HostError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        asyncio.run(Cluster("tcp://127.0.0.1:1").open())


@pytest.mark.parametrize("request_line", [b"", b'{"job":{"plan":1}}\n'])
def test_the_inner_command_says_what_is_wrong_with_its_request(request_line: bytes) -> None:
    command = [sys.executable, "-m", "patchbay_runner", "_worker-run"]
    ended = subprocess.run(command, input=request_line, capture_output=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert b"Error" in ended.stderr
    assert ended.stdout == b""
