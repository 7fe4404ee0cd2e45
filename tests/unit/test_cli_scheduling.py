"""How the sims of a run end together, with plain processes in the place of sandboxes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from patchbay_runner.cli.sandboxed import SimJob
from patchbay_runner.cli.sandboxes import Sandboxes
from patchbay_runner.cli.scheduling import Pace, Scheduler
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.errors import HostError
from patchbay_runner.kernel.sandbox import SandboxExit, SandboxOptions, Zygote
from patchbay_runner.results.run import RunDirectory
from tests.unit.results_support import plan, read_json

REFUSAL = HostError("no namespaces here")


class FakeSandbox:
    """A process in a sandbox's place. `asked` is what was asked of it."""

    def __init__(self, seconds: str, error: HostError | None) -> None:
        self.process = subprocess.Popen(["sleep", seconds], stdin=subprocess.DEVNULL)
        self.asked: list[str] = []
        self._error = error
        self._pidfd = os.pidfd_open(self.process.pid)

    def fileno(self) -> int:
        return self._pidfd

    def wait(self, timeout: float | None = None) -> SandboxExit:
        return SandboxExit(status=self.process.wait(timeout), error=self._error)

    def terminate(self) -> None:
        self.asked.append("terminate")
        self.process.terminate()

    def kill(self) -> None:
        self.asked.append("kill")
        self.process.send_signal(signal.SIGKILL)

    def close(self) -> None:
        if self._pidfd >= 0:
            self.process.kill()
            self.process.wait()
            os.close(self._pidfd)
            self._pidfd = -1


class FakeZygote:
    """The sandbox of the sim "refused" cannot be made; the others last."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, FakeSandbox] = {}

    def sandbox(self, _entry: str, payload: bytes, _fds: Sequence[int], _options: SandboxOptions) -> FakeSandbox:
        name = msgspec.json.decode(payload, type=SimJob).plan.name
        made = FakeSandbox("0.1", REFUSAL) if name == "refused" else FakeSandbox("300", None)
        self.sandboxes[name] = made
        return made


def test_a_host_that_cannot_make_a_sandbox_ends_the_others_cleanly(tmp_path: Path) -> None:
    zygote, interruption = FakeZygote(), Interruption()
    with RunDirectory.create(tmp_path, [plan(name) for name in ("runs", "refused", "waits")]) as directory:
        jobs = [
            SimJob(
                plan=sim.state.plan,
                directory=str(sim.directory),
                project_root=str(tmp_path),
                binaries={},
                timeout_s=None,
                owner=None,
            )
            for sim in directory.sims
        ]
        scheduler = Scheduler(
            Sandboxes(cast("Zygote", zygote), interruption), directory, jobs, interruption, Pace(jobs=2)
        )
        with pytest.raises(HostError, match="no namespaces here"):
            asyncio.run(scheduler.run())
    assert zygote.sandboxes["runs"].asked[0] == "terminate"
    assert set(zygote.sandboxes) == {"runs", "refused"}
    assert interruption.count == 0
    simulations = read_json(directory.path / "manifest.json")["simulations"]
    found = [(sim["sim"], sim["status"]) for sim in simulations]
    assert found == [("runs", "interrupted"), ("refused", "error"), ("waits", "pending")]
