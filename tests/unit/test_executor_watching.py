"""assert with eventually and for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from patchbay_runner.executor import ending
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.steps import Assert, Capture, Spawn, WaitForCapture
from tests.unit.executor_support import Bench, sh

CAPTURES = (Capture(name="n", regex="^n (.*)"), Capture(name="m", regex="^m (.*)"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def printing(script: str) -> Spawn:
    return Spawn(id="p", device="web", cmd=sh(script), captures=CAPTURES)


def check(*texts: str, within_s: float | None = None, for_s: float = 0.0) -> Assert:
    return Assert(checks=tuple(map(parse_assertion, texts)), within_s=within_s, for_s=for_s)


def test_it_passes_as_soon_as_it_holds(bench: Bench) -> None:
    started_s = time.monotonic()
    recorder = bench.passes(
        printing("for i in 1 2 3 4 5; do echo n $i; sleep 0.05; done; exec sleep 100"), check("p.n >= 3", within_s=60)
    )
    assert time.monotonic() - started_s < 30
    (passed,) = recorder.of_kind("assertion_passed")
    assert passed == {"check": "p.n >= 3", "value": "3", "expected": "3"}
    assert recorder.of_kind("assertion_failed") == []


def test_all_checks_must_hold_at_once(bench: Bench) -> None:
    script = "echo n 1; echo n 2; sleep 0.1; echo m 1; sleep 0.1; echo n 1; exec sleep 100"
    recorder = bench.passes(printing(script), check("p.n == 1", "p.m == 1", within_s=60))
    assert recorder.values["p.n"].history == ("1", "2", "1")


def test_a_value_that_is_followed_at_once_by_another_counts(bench: Bench) -> None:
    """Both come in one read of the pipe."""
    bench.passes(printing("sleep 0.2; printf 'n up\\nn down\\n'; exec sleep 100"), check("p.n == up", within_s=60))


def test_the_right_side_follows_its_captures(bench: Bench) -> None:
    script = "echo n 5; echo m 1; sleep 0.2; echo m 5; exec sleep 100"
    bench.passes(printing(script), check("p.n == ${p.m}", within_s=60))


def test_what_is_no_number_yet_may_become_one(bench: Bench) -> None:
    bench.passes(printing("echo n none; sleep 0.2; echo n 5; exec sleep 100"), check("p.n > 4", within_s=60))


def test_it_fails_when_the_time_is_over(bench: Bench) -> None:
    both = WaitForCapture(capture="p.n", count=2)
    failure = bench.fails(printing("echo n 1; echo n 2; exec sleep 100"), both, check("p.n == 3", within_s=0.5))
    assert failure.message == (
        "assertion failed: p.n == 3\n  p.n is '2'\n  history (2 values): '1', '2'\n  it had to hold within 0.5 s"
    )


def test_it_fails_without_a_value(bench: Bench) -> None:
    captured = WaitForCapture(capture="p.n")
    failure = bench.fails(printing("echo n 1; exec sleep 100"), captured, check("p.n == ${p.m}", within_s=0.5))
    assert failure.message == "assertion failed: p.n == ${p.m}\n  p.m was not captured\n  it had to hold within 0.5 s"
    (failed,) = bench.recorder.of_kind("assertion_failed")
    assert failed == {"check": "p.n == ${p.m}", "value": "1", "expected": ""}


def test_it_fails_at_once_when_a_value_can_no_longer_come(bench: Bench) -> None:
    started_s = time.monotonic()
    failure = bench.fails(printing("sleep 0.1; echo oh >&2; exit 2"), check("p.n == 3", within_s=60))
    assert failure.message == "p exited with code 2 without n"
    assert failure.output == ("oh",)
    assert time.monotonic() - started_s < 30


def test_holding_for_a_time(bench: Bench) -> None:
    started_s = time.monotonic()
    bench.passes(printing("while :; do echo n 1; sleep 0.02; done"), check("p.n == 1", for_s=0.5))
    assert time.monotonic() - started_s >= 0.5


def test_a_single_wrong_value_ends_it(bench: Bench) -> None:
    """Though the right one follows in the same read."""
    failure = bench.fails(
        printing("echo n 1; sleep 0.2; printf 'n 2\\nn 1\\n'; exec sleep 100"), check("p.n == 1", for_s=60)
    )
    assert "p.n is '2'" in failure.message
    assert failure.message.endswith("it had to hold for 60 s")


def test_eventually_for_a_time_begins_anew_after_a_wrong_value(bench: Bench) -> None:
    script = "echo n 1; sleep 0.1; printf 'n 2\\nn 1\\n'; sleep 0.1; printf 'n 2\\nn 1\\n'; exec sleep 100"
    started_s = time.monotonic()
    bench.passes(printing(script), WaitForCapture(capture="p.n"), check("p.n == 1", within_s=60, for_s=0.4))
    assert 0.4 <= time.monotonic() - started_s < 30


def test_eventually_for_a_time_may_end_after_the_first_time_is_over(bench: Bench) -> None:
    captured = WaitForCapture(capture="p.n")
    bench.passes(printing("echo n 1; exec sleep 100"), captured, check("p.n == 1", within_s=0.3, for_s=0.8))


def test_eventually_for_a_time_does_not_begin_too_late(bench: Bench) -> None:
    script = "echo n 1; sleep 2.5; printf 'n 2\\nn 1\\n'; exec sleep 100"
    failure = bench.fails(printing(script), WaitForCapture(capture="p.n"), check("p.n == 1", within_s=0.3, for_s=60))
    assert failure.message.endswith("it had to hold within 0.3 s for 60 s")
