"""What a failed step says of a sim on a host that was too busy for its links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.steps import (
    Assert,
    Capture,
    LinkDown,
    Readiness,
    Run,
    Spawn,
    Step,
    Wait,
    WaitFor,
    WaitForCapture,
)
from tests.unit.executor_support import Bench

LATE = "web.eth0 was 9 ms late"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def run(script: str, **fields: Any) -> Run:
    return Run(id="it", device="web", cmd=("sh", "-c", script), **fields)


def spawn(script: str, **fields: Any) -> Spawn:
    seen = Capture(name="seen", regex="seen")
    return Spawn(id="it", device="web", cmd=("sh", "-c", script), captures=(seen,), **fields)


EXCUSED: dict[str, list[Step]] = {
    "a program gives up": [run("exit 7")],
    "a program gets through that should not": [run("exit 0", expect_exit=7)],
    "a program takes too long": [run("exec sleep 9", timeout_s=0.05)],
    "a spawned program takes too long": [spawn("exec sleep 9"), WaitFor(id="it", timeout_s=0.05)],
    "a value is not what it should be": [
        run("echo 9", captures=(Capture(name="ms", regex="[0-9]+"),)),
        Assert(checks=(parse_assertion("it.ms < 5"),)),
    ],
    "a value never comes": [spawn("exit 0"), WaitForCapture(capture="it.seen")],
    "a value does not come often enough": [spawn("echo seen"), WaitForCapture(capture="it.seen", count=2)],
    "a program never gets ready": [spawn("exec sleep 9", ready_when=Readiness(capture="seen"), timeout_s=0.05)],
    "several at the same time": [
        run("exit 7", parallel="all"),
        Run(id="b", device="web", cmd=("false",), parallel="all"),
    ],
}
NEVER: dict[str, list[Step]] = {
    "a program that is not there": [Run(id="it", device="web", cmd=("/no/such/program",))],
    "one that the shell does not find": [run("no-such-program")],
    "a crash": [run("kill -SEGV $$$$")],
    "a change that the network refuses": [LinkDown(device="web", interface="missing")],
    "one of several": [
        run("exit 7", parallel="all"),
        Run(id="b", device="web", cmd=("/no/such/program",), parallel="all"),
    ],
}


def test_a_sim_whose_steps_pass_has_neither_passed_nor_failed(bench: Bench) -> None:
    bench.network.overload = LATE
    failure = bench.fails(Wait(duration_s=0))
    assert (failure.phase, failure.message, failure.step) == ("overloaded", LATE, None)


@pytest.mark.parametrize("steps", EXCUSED.values(), ids=EXCUSED)
def test_what_late_frames_may_cause_is_no_failure(bench: Bench, steps: list[Step]) -> None:
    reason = bench.fails(*steps)
    bench.network.overload = LATE
    bench.recorder.verdicts.clear()
    failure = bench.fails(*steps)
    assert (reason.phase, failure.phase, failure.step) == ("step", "overloaded", reason.step)
    assert failure.message == f"{LATE}\nso nothing is said by this: {reason.message}"
    assert failure.output == reason.output


@pytest.mark.parametrize("steps", NEVER.values(), ids=NEVER)
def test_what_they_cannot_cause_is_one(bench: Bench, steps: list[Step]) -> None:
    bench.network.overload = LATE
    failure = bench.fails(*steps)
    assert (failure.phase, LATE in failure.message) == ("step", False)


def test_a_sim_that_takes_too_long_may_have_waited_for_them(bench: Bench) -> None:
    bench.network.overload = LATE
    failure = bench.fails(run("exec sleep 9"), timeout_s=0.05)
    assert failure.phase == "overloaded"
    assert failure.message.endswith("the sim did not end within 0.05 s")
