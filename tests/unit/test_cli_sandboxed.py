"""What a sandbox tells when something goes wrong inside, in a child process without a network."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from patchbay_runner.cli import sandboxed
from patchbay_runner.cli.sandboxed import SimJob, run_sim
from patchbay_runner.errors import HostError, KernelError, LabError
from patchbay_runner.kernel.sandbox import SandboxContext, SandboxOptions
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.sim import SimRecord
from tests.unit.results_support import plan


def failure_of(sim: SimRecord) -> Failure | None:
    """Runs the entry in a child, as a sandbox does, and gives its verdict."""
    reader, writer = os.pipe()
    job = SimJob(
        plan=sim.state.plan,
        directory=str(sim.directory),
        project_root="/",
        binaries={},
        timeout_s=None,
        owner=None,
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pid = os.fork()
        if pid == 0:
            context = SandboxContext(msgspec.json.encode(job), (writer,), theirs, SandboxOptions(), (1024, 1024))
            os._exit(run_sim(context))
        os.close(writer)
        with os.fdopen(reader, "rb") as messages:
            sim.feed(messages.read())
        assert os.waitpid(pid, 0)[1] == 0
    assert sim.state.is_finished
    return sim.state.failure


@pytest.fixture
def sim(tmp_path: Path) -> SimRecord:
    record = SimRecord(plan(), tmp_path / "sim")
    record.start()
    return record


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_arguments: object) -> None:
        raise error

    return fail


class BuiltLab:
    """A network with nothing to begin."""

    async def begin(self) -> None:
        return None

    def end_capture(self) -> None:
        """There is none."""


@pytest.mark.parametrize(
    ("error", "phase", "message"),
    [
        (LabError("no such router", "home"), "lab", "home: no such router"),
        (KernelError("add veth", 1, "home"), "lab", "home: add veth: Operation not permitted (EPERM)"),
        (HostError("cannot write x: No space left on device"), "host", "cannot write x: No space left on device"),
        (ZeroDivisionError("oops"), "internal", "ZeroDivisionError: oops"),
        (BlockingIOError(errno.EAGAIN, "not ready"), "internal", f"BlockingIOError: [Errno {errno.EAGAIN}] not ready"),
    ],
)
def test_what_stops_the_build_becomes_the_verdict(
    sim: SimRecord, monkeypatch: pytest.MonkeyPatch, error: Exception, phase: str, message: str
) -> None:
    monkeypatch.setattr(sandboxed.Lab, "build", raising(error))
    failure = failure_of(sim)
    assert failure is not None
    assert (failure.phase, failure.message) == (phase, message)
    assert failure.traceback.startswith("Traceback") == (phase == "internal")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (KernelError("open /proc/thread-self/ns/net", errno.EMFILE, "home"), "ulimit -Hn"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -Hn"),
        (KernelError("unshare 0x40000000", errno.ENOSPC), "user.max_"),
        (KernelError("add veth", errno.ENOMEM), "free -m"),
    ],
)
def test_a_host_that_is_full_is_not_the_networks_fault(
    sim: SimRecord, monkeypatch: pytest.MonkeyPatch, error: Exception, remedy: str
) -> None:
    monkeypatch.setattr(sandboxed.Lab, "build", raising(error))
    failure = failure_of(sim)
    assert failure is not None
    assert failure.phase == "host"
    assert failure.message.startswith(str(error))
    assert remedy in failure.message


def test_a_defect_among_the_steps_becomes_the_verdict(sim: SimRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed.Lab, "build", lambda *_: BuiltLab())
    monkeypatch.setattr(sandboxed, "run_plan", raising(KeyError("x")))
    failure = failure_of(sim)
    assert failure is not None
    assert (failure.phase, failure.message) == ("internal", "KeyError: 'x'")


def test_a_request_to_stop_ends_the_build_at_once(sim: SimRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(sandboxed.Lab, "build", build)
    assert failure_of(sim) == sandboxed.INTERRUPTED


def test_a_request_to_stop_between_build_and_steps_is_not_lost(sim: SimRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(_host: object) -> dict[str, str]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    monkeypatch.setattr(sandboxed.Lab, "build", lambda *_: BuiltLab())
    monkeypatch.setattr(sandboxed, "program_environment", environment)
    monkeypatch.setattr(sandboxed, "run_plan", lambda *_: asyncio.sleep(60))
    assert failure_of(sim) == sandboxed.INTERRUPTED


def test_what_stops_the_beginning_becomes_the_verdict(sim: SimRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxed.Lab, "build", lambda *_: BuiltLab())
    monkeypatch.setattr(BuiltLab, "begin", raising(LabError("no address", "phone")))
    failure = failure_of(sim)
    assert failure is not None
    assert (failure.phase, failure.message) == ("lab", "phone: no address")
