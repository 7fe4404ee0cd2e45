"""`patchbay doctor` on hosts that can run labs and on hosts that cannot, made of this one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.running import Project

DOCTOR = [sys.executable, "-m", "patchbay_runner", "doctor"]
# In a user namespace of its own, whose number of user namespaces below can be changed without changing the host.
# Capabilities of root would make one needless.
WITHOUT_USER_NAMESPACES = (
    'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all -- "$@"'
)


def doctor(
    *arguments: str, around: Sequence[str] = (), env: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*around, *DOCTOR, *arguments],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={**os.environ, **env},
    )


def probes(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    assert document["can_run_labs"] == (done.returncode == 0)
    return {probe["name"]: probe for probe in document["probes"]}


def test_a_host_that_runs_these_tests_can_run_labs() -> None:
    done = doctor("--json")
    found = probes(done)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("kernel", "sandbox", "node", "NAT and firewalls", "IPv6", "ping", "a lab"):
        assert found[name]["verdict"] == "fine", found[name]
    assert "carrier NAT" in found["a lab"]["found"]
    assert {"AppArmor", "nft", "libnftables", "netem", "tun", "cgroup pids", "cgroup memory", "inotify"} <= found.keys()
    assert {"open files", "neighbour tables", "namespaces"} <= found.keys()


def test_people_get_a_line_for_each_and_a_conclusion() -> None:
    done = doctor(env={"NO_COLOR": "1"})
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert lines[0].startswith("fine     kernel  ")
    assert re.fullmatch(r"this host can run labs(, with \d+ limits?)?", lines[-1])


def test_without_user_namespaces_it_is_4_and_says_which_setting() -> None:
    around = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_USER_NAMESPACES, "sh"]
    done = doctor("--json", around=around)
    found = probes(done)
    assert done.returncode == 4
    assert found["sandbox"]["verdict"] == found["namespaces"]["verdict"] == "missing"
    assert "sysctl -w user.max_user_namespaces=65536" in found["sandbox"]["remedy"]
    assert "a lab" not in found


def test_the_run_command_says_the_same_as_the_doctor(tmp_path: Path) -> None:
    Project(tmp_path).sim("x", '[[step]]\naction = "wait"\nduration = "1ms"')
    around = ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT_USER_NAMESPACES, "sh"]
    command = [*around, sys.executable, "-m", "patchbay_runner", "run", "x.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, cwd=tmp_path)
    assert done.returncode == 4
    remedy = probes(doctor("--json", around=around))["sandbox"]["remedy"]
    assert remedy in done.stdout + done.stderr


@pytest.mark.parametrize("files", [12, 20, 40])
def test_few_open_files_are_told_and_nothing_hangs(files: int) -> None:
    around = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"]
    done = doctor("--json", around=around)
    found = probes(done)
    assert done.returncode == 4
    assert found["open files"]["verdict"] == "missing"
    assert "ulimit -n" in found["open files"]["remedy"]


def test_hosts_without_the_program_have_the_library() -> None:
    # A library that is not where a distribution puts it would need another test: this one needs nft out of the way.
    script = (
        "import sys; from patchbay_runner.kernel import nftables; nftables._SYSTEM_PATH = ''; "
        "from patchbay_runner.cli.main import run_command; sys.exit(run_command(['doctor', '--json']))"
    )
    for library, code, verdicts in ((True, 0, ("fine", "weaker")), (False, 4, ("missing", "missing"))):
        hide = "" if library else "nftables._LIBRARY = 'libnothing.so'; "
        done = subprocess.run(
            [sys.executable, "-c", script.replace("from patchbay_runner.cli", f"{hide}from patchbay_runner.cli", 1)],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            env={**os.environ, "PATH": "/nonexistent"},
        )
        found = probes(done)
        assert done.returncode == code, done.stdout
        assert (found["libnftables"]["verdict"], found["nft"]["verdict"]) == verdicts
        assert found["NAT and firewalls"]["verdict"] == ("fine" if library else "missing")
        assert ("nftables" in found["NAT and firewalls"]["remedy"]) != library


@pytest.mark.parametrize("arguments", [("everything",), ("--jsonn",), ("--json=1",)])
def test_nonsense_is_2(arguments: tuple[str, ...]) -> None:
    done = doctor(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Error" in done.stderr
