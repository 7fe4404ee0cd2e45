"""The pause of a failed sim: with everything as it was, and not when the user wants the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from patchbay_runner.executor import RunOptions, ending, run_plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.model.steps import Readiness, Run, Spawn, Step, Wait
from tests.unit.executor_support import Bench, sh

SERVER = Spawn(
    id="server", device="web", cmd=sh("echo $$$$ > made; mv made pid; exec sleep 100"), ready_when=Readiness(file="pid")
)
FAILING = Run(id="fails", device="web", cmd=("false",))
LONG = Wait(id="long", duration_s=100.0)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


class Pause:
    """Lasts until it is told to end."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.begun, self.over = asyncio.Event(), asyncio.Event()
        self.alive: list[int] = []

    async def __call__(self) -> None:
        self.alive = self.bench.alive(patience_s=0)
        self.begun.set()
        await self.over.wait()


async def start(
    bench: Bench, *steps: Step, timeout_s: float | None = None
) -> tuple[asyncio.Task[Failure | None], Pause]:
    pause = Pause(bench)
    options: RunOptions = replace(bench.options(timeout_s), pause=pause)
    return asyncio.create_task(run_plan(bench.plan(*steps), bench.network, bench.recorder, options)), pause


def test_the_programs_run_until_it_goes_on(bench: Bench) -> None:
    async def scenario() -> Failure | None:
        running, pause = await start(bench, SERVER, FAILING, timeout_s=5.0)
        await pause.begun.wait()
        assert len(pause.alive) == 1
        pause.over.set()
        return await running

    failure = asyncio.run(scenario())
    assert failure is not None and failure.message == "fails exited with code 1"
    (told,) = bench.recorder.of_kind("sim_paused")
    assert (told["phase"], told["id"], told["step"]) == ("step", "fails", 1)
    assert bench.recorder.kinds().index("sim_resumed") < bench.recorder.kinds().index("process_exited", -2)
    assert bench.alive() == []


def test_a_sim_whose_time_is_over_waits_as_well(bench: Bench) -> None:
    async def scenario() -> Failure | None:
        running, pause = await start(bench, LONG, timeout_s=0.05)
        await pause.begun.wait()
        await asyncio.sleep(0.2)
        assert not running.done()
        pause.over.set()
        return await running

    failure = asyncio.run(scenario())
    assert failure is not None and failure.phase == "timeout"


def test_an_interruption_ends_the_pause_and_the_failure_stays(bench: Bench) -> None:
    async def scenario() -> Failure | None:
        running, pause = await start(bench, FAILING)
        await pause.begun.wait()
        running.cancel()
        return await running

    failure = asyncio.run(scenario())
    assert failure is not None and failure.phase == "step"
    assert bench.recorder.verdicts == [failure]


def test_who_interrupts_wants_no_pause(bench: Bench) -> None:
    async def scenario() -> Failure | None:
        running, _ = await start(bench, LONG)
        await asyncio.sleep(0.05)
        running.cancel()
        return await running

    failure = asyncio.run(scenario())
    assert failure is not None and failure.phase == "interrupted"
    assert bench.recorder.of_kind("sim_paused") == []


def test_a_sim_that_passes_does_not_pause(bench: Bench) -> None:
    async def scenario() -> Failure | None:
        running, _ = await start(bench, Run(id="passes", device="web", cmd=("true",)))
        return await running

    assert asyncio.run(scenario()) is None
    assert bench.recorder.of_kind("sim_paused") == []
