"""SIGKILL, at any moment, of any of the processes that make up a sandbox leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import sandbox_driver
from support.sandbox_inside import inside, new_node, program_environment, wait_until

from patchbay_runner.kernel import syscalls
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote

_MARKER = "PATCHBAY_TEST_MARKER"
_DRIVER = Path(sandbox_driver.__file__)


@contextmanager
def _driver(mode: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, int], str]]:
    """A driver that is ready, the pids it knows, and the marker that everything below it carries."""
    marker = uuid.uuid4().hex
    paths = [str(_DRIVER.parents[3]), str(_DRIVER.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**program_environment(), _MARKER: marker, "PYTHONPATH": ":".join(filter(None, paths))}
    driver = subprocess.Popen(
        [sys.executable, str(_DRIVER), mode],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with driver:
        try:
            assert driver.stdout is not None
            yield driver, _said(driver, "ready"), marker
        finally:
            driver.kill()


def _said(driver: subprocess.Popen[str], word: str) -> Any:
    assert driver.stdout is not None
    line = driver.stdout.readline()
    assert line.startswith(word), line
    return json.loads(line.removeprefix(word))


def _marked(marker: str) -> dict[int, str]:
    """Every process with the marker in its environment, by pid: its innermost pid and its name."""
    found = {}
    wanted = f"{_MARKER}={marker}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (path / "environ").read_bytes().split(b"\0"):
                status = (path / "status").read_text()
                nested = next(line for line in status.splitlines() if line.startswith("NSpid"))
                found[int(path.name)] = nested.split()[-1] + status.split()[1]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _host() -> tuple[set[str], set[str]]:
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    return mounts, {path.name for path in Path("/sys/class/net").iterdir()}


def _inner(marker: str, pid: int) -> int:
    (found,) = [outer for outer, nested in _marked(marker).items() if nested.startswith(f"{pid}python")]
    return found


@pytest.mark.parametrize("victim", ["parent", "zygote", "outer", "init", "agent"])
def test_nothing_is_left_when_one_is_killed(victim: str) -> None:
    before = _host()
    with _driver("once") as (driver, known, marker):
        pids = {**known, "init": _inner(marker, 1), "agent": _inner(marker, 2)}
        wait_until(lambda: sum("sleep" in name for name in _marked(marker).values()) == 4)
        wait_until(lambda: len(_marked(marker)) >= 5 + 4 + 2 + 1)  # ours, sleeps, shells, daemon
        os.kill(pids[victim], signal.SIGKILL)
        begin = time.monotonic()
        if victim != "parent":
            ended = _said(driver, "ended")
            assert ended["signal"] == signal.SIGKILL
            assert ended["error"] == "SandboxDied"
            left = {pid: name for pid, name in _marked(marker).items() if pid not in (pids["parent"], pids["zygote"])}
            assert left == {}, "wait() returned before everything had ended"
            assert driver.stdin is not None
            driver.stdin.write("\n")
            driver.stdin.flush()
            assert _said(driver, "next") == ("the zygote has ended" if victim == "zygote" else 0)
            driver.communicate()
        wait_until(lambda: not _marked(marker), timeout_s=5)
        assert time.monotonic() - begin < 5
    after = _host()
    assert after[0] <= before[0]
    assert after[1] <= before[1]


@pytest.mark.parametrize("victim", ["parent", "zygote"])
@pytest.mark.parametrize("delay_ms", [0, 2, 4, 6, 8, 10, 13, 17, 23, 31, 47, 70, 110])
def test_nothing_is_left_whatever_the_moment(victim: str, delay_ms: int) -> None:
    with _driver("churn") as (_, pids, marker):
        time.sleep(delay_ms / 1000)
        os.kill(pids[victim], signal.SIGKILL)
        wait_until(lambda: not set(_marked(marker)) - {pids["parent"]}, timeout_s=5)


def test_outer_process_killed_while_the_sandbox_is_made() -> None:
    with Zygote.start({"entry": sandbox_driver.fill}) as zygote:
        for delay_ms in range(16):
            with zygote.sandbox("entry") as sandbox:
                time.sleep(delay_ms / 1000)
                os.kill(sandbox.pid, signal.SIGKILL)
                sandbox.wait(5)
            children = Path(f"/proc/{zygote.pid}/task/{zygote.pid}/children")
            wait_until(lambda path=children: path.read_text() == "")  # type: ignore[misc]


def test_init_that_comes_too_late_for_the_death_signal_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer process dies between init's fork and init's request for the signal."""
    real = syscalls.set_parent_death_signal

    def slow(signum: int) -> None:
        if os.getpid() == 1:
            time.sleep(0.3)
        real(signum)

    monkeypatch.setattr(syscalls, "set_parent_death_signal", slow)
    marker = uuid.uuid4().hex
    reader, writer = os.pipe()

    def entry(context: SandboxContext) -> int:
        return os.write(context.fds[0], marker.encode())

    with Zygote.start({"entry": entry}) as zygote, zygote.sandbox("entry", fds=[writer]) as sandbox:
        os.close(writer)
        children = Path(f"/proc/{sandbox.pid}/task/{sandbox.pid}/children")
        wait_until(lambda: children.read_text() != "")
        os.kill(sandbox.pid, signal.SIGKILL)
        with os.fdopen(reader) as file:
            assert file.read() == ""  # init and agent are gone, and the entry was never called


def test_network_namespaces_of_killed_sandboxes_are_freed() -> None:
    """A limit of 16 on network namespaces outlives 12 sandboxes of 4 only if each gives its own back."""

    def limited(_: SandboxContext) -> int:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text)
        Path("/proc/sys/user/max_net_namespaces").write_text("16")
        made = 0
        with Zygote.start({"entry": _three_nodes}) as zygote:
            deadline = time.monotonic() + 30
            while made < 12:
                assert time.monotonic() < deadline, f"only {made} sandboxes could be made"
                with zygote.sandbox("entry") as sandbox:
                    if sandbox.control.recv(10) == b"full":
                        made += 1
                        os.kill(sandbox.pid, signal.SIGKILL)
                        sandbox.wait(5)
                    else:
                        time.sleep(0.05)  # the kernel frees namespaces in its own time
        return made

    assert inside(limited, timeout_s=60) == 12


def _three_nodes(context: SandboxContext) -> int:
    for n in range(3):
        new_node(f"n{n}")
    context.control.send(b"full")
    context.control.recv(1)
    return 0
