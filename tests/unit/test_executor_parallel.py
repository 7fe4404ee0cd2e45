"""Runs with `parallel`: at the same time, all to their end, all failures told."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.executor import ending, run_plan
from patchbay_runner.executor.blocks import blocks
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.steps import Assert, Capture, ResultKeys, Run, Wait
from tests.unit.executor_support import Bench, sh


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def beside(step_id: str, script: str, parallel: str = "x", timeout_s: float | None = None, **more: object) -> Run:
    command = sh(script)
    return Run(id=step_id, device="web", cmd=command, parallel=parallel, timeout_s=timeout_s, **more)  # type: ignore[arg-type]


def test_adjacent_steps_of_a_name_belong_together() -> None:
    steps = [beside("a", ""), beside("b", ""), beside("c", "", "y"), Wait(duration_s=0.0), Wait(duration_s=0.0)]
    steps += [beside("d", "", ""), beside("e", "", "")]
    assert [list(block) for block in blocks(steps)] == [[0, 1], [2], [3], [4], [5], [6]]


def test_they_run_at_the_same_time(bench: Bench) -> None:
    """Each waits for a file of the other."""
    recorder = bench.passes(
        beside("a", "touch a; until test -e b; do sleep 0.01; done", timeout_s=30.0),
        beside("b", "touch b; until test -e a; do sleep 0.01; done", timeout_s=30.0),
        Run(id="after", device="web", cmd=("true",)),
    )
    order = [(kind, fields["id"]) for kind, fields in recorder.events if kind in ("step_started", "step_finished")]
    assert order[:2] == [("step_started", "a"), ("step_started", "b")]
    assert order[-2:] == [("step_started", "after"), ("step_finished", "after")]
    assert {fields["step"] for fields in recorder.of_kind("step_finished")} == {0, 1, 2}


def test_their_captures_and_results_are_there_afterwards(bench: Bench) -> None:
    captures = (Capture(name="n", regex="n (.*)"),)
    keys = [ResultKeys(down_bytes=f"{name}.n") for name in ("a", "b")]
    recorder = bench.passes(
        beside("a", "sleep 0.2; echo n 1", captures=captures, results=keys[0]),
        beside("b", "echo n 2", captures=captures, results=keys[1]),
        Assert(checks=(parse_assertion("a.n == 1"), parse_assertion("b.n == 2"))),
    )
    assert {step: result.down_bytes for step, result in recorder.latest_results.items()} == {"a": "1", "b": "2"}


def test_all_end_and_all_failures_are_told(bench: Bench) -> None:
    failure = bench.fails(
        beside("a", "sleep 0.3; echo done"),
        beside("b", "sleep 0.1; echo first >&2; exit 3"),
        beside("c", "echo second >&2; exit 4"),
        Run(id="after", device="web", cmd=("true",)),
    )
    assert failure.message == "b exited with code 3\nbeside it failed:\n  step 3 (run c): c exited with code 4"
    assert (failure.step, failure.id, failure.output) == (1, "b", ("first",))
    assert bench.recorder.log("a") == b"done\n"
    told = bench.recorder.of_kind("step_failed")
    assert {(fields["step"], fields["output"]) for fields in told} == {(1, ("first",)), (2, ("second",))}
    assert "after" not in [fields["id"] for fields in bench.recorder.of_kind("step_started")]


def test_one_that_is_too_late_is_the_one_that_failed(bench: Bench) -> None:
    failure = bench.fails(beside("a", "true"), beside("b", "exec sleep 100", timeout_s=0.3))
    assert (failure.message, failure.step) == ("b did not end within 0.3 s", 1)


def test_the_end_of_the_sims_time_names_one_that_has_not_ended(bench: Bench) -> None:
    failure = bench.fails(beside("a", "true"), beside("b", "exec sleep 100"), timeout_s=2.5)
    assert (failure.phase, failure.id) == ("timeout", "b")
    assert bench.alive() == []


def test_a_wrong_result_at_the_end_is_that_of_its_own_step(bench: Bench) -> None:
    """Of a spawned program too, whose results are read last."""
    captures = (Capture(name="n", regex="n (.*)"),)
    failure = bench.fails(
        beside("a", "true"), beside("b", "echo n many", captures=captures, results=ResultKeys(down_bytes="b.n"))
    )
    assert (failure.step, failure.message) == (1, "results.down_bytes: b.n is 'many', which is not a number")


def test_a_defect_ends_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started_s = time.monotonic()

    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(bench.network, "settled", broken)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(bench.run_async(beside("a", "exec sleep 100"), beside("b", "true")))
    assert time.monotonic() - started_s < 30
    assert bench.alive() == []


def test_steps_of_on_failure_run_at_the_same_time_too(bench: Bench) -> None:
    after = (
        beside("a", "touch a; until test -e b; do sleep 0.01; done"),
        beside("b", "touch b; until test -e a; do sleep 0.01; done; exit 3"),
        beside("c", "echo c", ""),
    )
    plan = msgspec.structs.replace(bench.plan(Run(id="fails", device="web", cmd=("false",))), on_failure=after)
    failure = asyncio.run(run_plan(plan, bench.network, bench.recorder, bench.options()))
    assert failure is not None
    assert failure.message == "fails exited with code 1"
    assert bench.recorder.log("c") == b"c\n"
    told = [fields["message"] for fields in bench.recorder.of_kind("step_failed") if fields.get("on_failure")]
    assert told == ["b exited with code 3"]
