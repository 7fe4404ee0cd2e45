"""The parent's patience with a sandbox, with a plain process in its place."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from patchbay_runner.cli import supervision
from patchbay_runner.cli.supervision import Interruption, Supervisor
from patchbay_runner.errors import HostError, SandboxDied
from patchbay_runner.kernel.sandbox import Sandbox, SandboxExit
from patchbay_runner.results.sim import SimRecord
from tests.unit.results_support import plan

FINISHED = '{"type":"finished","failure":null}'


@dataclass
class FakeSandbox:
    """A shell that writes to the pipe; `asked` is what the supervisor asked of it."""

    script: str
    pipe: int
    error: Exception | None = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(["sh", "-c", self.script], stdout=self.pipe, stdin=subprocess.DEVNULL)
        self.pidfd = os.pidfd_open(self.process.pid)

    def fileno(self) -> int:
        return self.pidfd

    def wait(self, timeout: float | None = None) -> SandboxExit:
        code = self.process.wait(timeout)
        return SandboxExit(code if code >= 0 else None, -code if code < 0 else None, self.error)  # type: ignore[arg-type]

    def terminate(self) -> None:
        self.asked.append("terminate")
        self.process.terminate()

    def kill(self) -> None:
        self.asked.append("kill")
        self.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.pidfd)


@dataclass
class Watched:
    """A sim whose sandbox is a script."""

    sim: SimRecord
    interruption: Interruption = field(default_factory=Interruption)
    asked: list[str] = field(default_factory=list)

    def watch(
        self,
        script: str,
        *,
        error: Exception | None = None,
        timeout_s: float | None = None,
        meanwhile: Callable[[Interruption], None] | None = None,
        paused_s: float | None = None,
    ) -> None:
        asyncio.run(asyncio.wait_for(self._watch(script, error, timeout_s, meanwhile, paused_s), 10))

    async def _watch(
        self,
        script: str,
        error: Exception | None,
        timeout_s: float | None,
        meanwhile: Callable[[Interruption], None] | None,
        paused_s: float | None,
    ) -> None:
        reader, writer = supervision.make_pipe()
        sandbox = FakeSandbox(script, writer, error, self.asked)
        os.close(writer)
        if meanwhile:
            asyncio.get_running_loop().call_later(0.1, meanwhile, self.interruption)
        supervisor = Supervisor(cast("Sandbox", sandbox), reader, self.sim, self.interruption, timeout_s)
        if paused_s is not None:
            asyncio.get_running_loop().call_later(0.1, supervisor.set_paused, True)
            asyncio.get_running_loop().call_later(0.1 + paused_s, supervisor.set_paused, False)
        try:
            await supervisor.watch(lambda events: None)
        finally:
            os.close(reader)

    @property
    def phase(self) -> str | None:
        return self.sim.state.failure.phase if self.sim.state.failure else None


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    for name in ("_FINISHED_GRACE_S", "_INTERRUPT_GRACE_S", "_TIMEOUT_GRACE_S"):
        monkeypatch.setattr(supervision, name, 0.3)
    sim = SimRecord(plan(), tmp_path / "sim")
    sim.start()
    yield Watched(sim)
    assert (tmp_path / "sim" / "results.md").exists()


def test_a_verdict_is_taken(watched: Watched) -> None:
    watched.watch(f"echo '{FINISHED}'")
    assert (watched.phase, watched.asked) == (None, [])


def test_what_was_written_just_before_the_end_is_read(watched: Watched) -> None:
    event = '{"type":"event","timestamp":"t","kind":"noise"}'
    watched.watch(f"for i in $(seq 3000); do echo '{event}'; done; echo '{FINISHED}'")
    assert watched.phase is None
    assert (watched.sim.directory / "events.jsonl").read_bytes().count(b"noise") == 3000


def test_a_sandbox_that_does_not_end_after_its_verdict_is_killed(watched: Watched) -> None:
    watched.watch(f"echo '{FINISHED}'; exec sleep 60")
    assert (watched.phase, watched.asked) == (None, ["kill"])


def test_an_end_without_a_verdict_is_a_defect(watched: Watched) -> None:
    watched.watch("exit 7")
    assert watched.phase == "internal"


def test_a_defect_inside_comes_with_its_traceback(watched: Watched) -> None:
    watched.watch("exit 70", error=SandboxDied("the agent raised an exception:\nTraceback\nOops"))
    assert watched.sim.state.failure is not None
    assert watched.sim.state.failure.message == "the agent raised an exception:"
    assert (watched.sim.directory / "traceback.txt").read_text() == "Traceback\nOops"


def test_a_host_that_cannot_is_raised_after_it_is_recorded(watched: Watched) -> None:
    with pytest.raises(HostError, match="no namespaces"):
        watched.watch("exit 1", error=HostError("no namespaces"))
    assert watched.phase == "host"


def test_no_time_passes_for_a_sim_that_waits_for_people(watched: Watched) -> None:
    watched.watch(f"sleep 0.9; echo '{FINISHED}'", timeout_s=0.2, paused_s=60.0)
    assert (watched.phase, watched.asked) == (None, [])


def test_a_sim_that_does_not_end_after_its_pause_is_killed(watched: Watched) -> None:
    watched.watch("exec sleep 60", timeout_s=0.2, paused_s=0.6)
    assert (watched.phase, watched.asked) == ("timeout", ["kill"])


def test_one_request_to_stop_terminates(watched: Watched) -> None:
    watched.watch("exec sleep 60", meanwhile=Interruption.request)
    assert (watched.phase, watched.asked) == ("interrupted", ["terminate"])


def test_a_sandbox_that_does_not_stop_is_killed(watched: Watched) -> None:
    watched.watch("trap '' TERM; exec sleep 60", meanwhile=Interruption.request)
    assert (watched.phase, watched.asked) == ("interrupted", ["terminate", "kill"])


def test_a_second_request_kills(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "_INTERRUPT_GRACE_S", 60)

    def twice(interruption: Interruption) -> None:
        interruption.request()
        interruption.request()

    watched.watch("trap '' TERM; exec sleep 60", meanwhile=twice)
    assert (watched.phase, watched.asked) == ("interrupted", ["terminate", "kill"])


def test_a_sandbox_that_misses_its_own_deadline_is_killed(watched: Watched) -> None:
    watched.watch("exec sleep 60", timeout_s=0.1)
    assert (watched.phase, watched.asked) == ("timeout", ["kill"])
    assert watched.sim.state.failure is not None
    assert watched.sim.state.failure.message == "the sim took longer than 0.1 s"
