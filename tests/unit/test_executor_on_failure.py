"""Steps of on_failure: carried out when a sim fails, in bounded time, and not else."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.executor import ending, on_failure, run_plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.model.steps import LinkDown, Readiness, Run, Spawn, Step, Wait
from tests.unit.executor_support import Bench, sh


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


async def run_async(
    bench: Bench, steps: tuple[Step, ...], after: tuple[Step, ...], timeout_s: float | None = None
) -> Failure | None:
    plan = msgspec.structs.replace(bench.plan(*steps), on_failure=after)
    return await run_plan(plan, bench.network, bench.recorder, bench.options(timeout_s))


def fails(bench: Bench, steps: tuple[Step, ...], after: tuple[Step, ...], timeout_s: float | None = None) -> Failure:
    failure = asyncio.run(run_async(bench, steps, after, timeout_s))
    assert failure is not None
    assert bench.recorder.verdicts == [failure]
    return failure


FAILING = Run(id="fails", device="web", cmd=("false",))


def dump(step_id: str = "dump", script: str = "echo state") -> Run:
    return Run(id=step_id, device="web", cmd=sh(script))


def test_they_are_left_out_of_a_sim_that_passes(bench: Bench) -> None:
    passing = (Run(id="passes", device="web", cmd=("true",)),)
    assert asyncio.run(run_async(bench, passing, (dump(),))) is None
    assert [fields["id"] for fields in bench.recorder.of_kind("step_started")] == ["passes"]


def test_they_are_carried_out_after_a_failure_while_programs_run(bench: Bench) -> None:
    script = sh("echo $$$$ > made; mv made pid; exec sleep 100")
    server = Spawn(id="server", device="web", cmd=script, ready_when=Readiness(file="pid"))
    failure = fails(bench, (server, FAILING), (dump(script="kill -0 $(cat pid) && echo alive"),))
    assert (failure.message, failure.step) == ("fails exited with code 1", 1)
    assert bench.recorder.log("dump") == b"alive\n"
    assert bench.alive() == []
    (dumped,) = [fields for fields in bench.recorder.of_kind("step_finished") if fields.get("on_failure")]
    assert (dumped["step"], dumped["id"]) == (0, "dump")


def test_all_are_tried_and_the_first_failure_is_reported(bench: Bench) -> None:
    after = (dump("one", "echo no >&2; exit 4"), LinkDown(device="web", interface="missing"), dump("three"))
    failure = fails(bench, (FAILING,), after)
    assert failure.message == "fails exited with code 1"
    assert bench.recorder.log("three") == b"state\n"
    told = [fields for fields in bench.recorder.of_kind("step_failed") if fields.get("on_failure")]
    assert [(fields["step"], fields["message"]) for fields in told] == [
        (0, "one exited with code 4"),
        (1, "web: it has no interface 'missing'"),
    ]
    assert told[0]["output"] == ("no",)


def test_a_capture_that_no_step_recorded_fails_the_step_at_once(bench: Bench) -> None:
    after = (Run(id="dump", device="web", cmd=("echo", "${server.ready}")), dump("last"))
    fails(bench, (FAILING,), after)
    (told,) = [fields for fields in bench.recorder.of_kind("step_failed") if fields.get("on_failure")]
    assert told["message"] == "server.ready can never appear: no program of a step 'server' has been started"
    assert bench.recorder.log("last") == b"state\n"


def test_they_follow_the_end_of_the_sims_time(bench: Bench) -> None:
    failure = fails(bench, (Wait(duration_s=60.0),), (dump(),), timeout_s=0.2)
    assert failure.phase == "timeout"
    assert bench.recorder.log("dump") == b"state\n"


def test_they_follow_an_interruption(bench: Bench) -> None:
    async def interrupted() -> Failure | None:
        task = asyncio.create_task(run_async(bench, (Wait(duration_s=60.0),), (dump(),)))
        while not bench.recorder.events:
            await asyncio.sleep(0.01)
        task.cancel()
        return await task

    failure = asyncio.run(interrupted())
    assert failure is not None
    assert failure.phase == "interrupted"
    assert bench.recorder.log("dump") == b"state\n"


def test_one_that_hangs_leaves_time_to_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_failure, "ON_FAILURE_S", 4.0)
    started_s = time.monotonic()
    fails(bench, (FAILING,), (dump("hangs", "exec sleep 100"), dump("last")))
    assert bench.recorder.log("last") == b"state\n"
    assert time.monotonic() - started_s < 30
    (told,) = [fields for fields in bench.recorder.of_kind("step_failed") if fields.get("on_failure")]
    assert told["message"] == "not done within 2.0 s"


def test_an_interruption_ends_them(bench: Bench) -> None:
    async def interrupted() -> Failure | None:
        after = (dump("hangs", "exec sleep 100"), dump("last"))
        task = asyncio.create_task(run_async(bench, (FAILING,), after))
        while not any(fields["id"] == "hangs" for fields in bench.recorder.of_kind("process_started")):
            await asyncio.sleep(0.01)
        task.cancel()
        return await task

    started_s = time.monotonic()
    failure = asyncio.run(interrupted())
    assert failure is not None
    assert failure.message == "fails exited with code 1"
    assert time.monotonic() - started_s < 15
    assert "last" not in [fields["id"] for fields in bench.recorder.of_kind("step_started")]
