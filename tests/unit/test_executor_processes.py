"""run, spawn and wait-for: exits, output, endings."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from patchbay_runner.executor import ending
from patchbay_runner.model.steps import Capture, Run, Spawn, Wait, WaitFor
from tests.unit.executor_support import Bench, sh


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # Where init does not reap, killed children of ended programs look alive for ever.
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def test_run_passes_and_records_exit_and_time(bench: Bench) -> None:
    recorder = bench.passes(Run(id="a", device="web", cmd=("true",)))
    assert bench.value("a.exit_code") == "0"
    assert 0 < float(bench.value("a.elapsed_s")) < 5
    assert recorder.kinds() == ["step_started", "process_started", "process_exited", "step_finished"]
    assert recorder.of_kind("process_started")[0]["argv"] == ["true"]


def test_output_goes_to_the_step_and_the_node(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=sh("echo one; echo two >&2; printf no-newline")),
        Run(id="b", device="web", cmd=sh("echo three")),
    )
    assert recorder.log("a") == b"one\nno-newline"
    assert recorder.log("a", "stderr") == b"two\n"
    assert recorder.node_log() == b"one\nno-newline\nthree\n"
    assert recorder.node_log("stderr") == b"two\n"


def test_a_silent_program_makes_no_node_log(bench: Bench) -> None:
    recorder = bench.passes(Run(id="a", device="web", cmd=("true",)))
    assert not (recorder.directory / "nodes/web/stdout.log").exists()


@pytest.mark.parametrize("parsed", [False, True])
def test_lines_of_two_programs_stay_whole(bench: Bench, parsed: bool) -> None:
    captures = (Capture(name="x", regex="never"),) if parsed else ()
    script = "for i in 1 2 3 4 5; do printf '%s-' $0; sleep 0.02; echo $0; done"
    recorder = bench.passes(
        Spawn(id="a", device="web", cmd=("sh", "-c", script, "a"), captures=captures),
        Spawn(id="b", device="web", cmd=("sh", "-c", script, "b"), captures=captures),
        WaitFor(id="a"),
        WaitFor(id="b"),
    )
    assert sorted(recorder.node_log().splitlines()) == [b"a-a"] * 5 + [b"b-b"] * 5


def test_output_of_a_long_lived_program_reaches_the_node_log_meanwhile(bench: Bench) -> None:
    async def scenario() -> bytes:
        running = asyncio.ensure_future(bench.run_async(Run(id="a", device="web", cmd=sh("echo early; sleep 60"))))
        for _ in range(200):
            await asyncio.sleep(0.02)
            if log := bench.recorder.node_log():
                break
        running.cancel()
        await running
        return log

    assert asyncio.run(scenario()) == b"early\n"


def test_run_fails_on_a_nonzero_exit_with_its_last_stderr_lines(bench: Bench) -> None:
    failure = bench.fails(Run(id="a", device="web", cmd=sh("echo fine; echo broken >&2; exit 3")))
    assert failure.phase == "step"
    assert failure.message == "a exited with code 3"
    assert failure.output == ("broken",)
    assert (failure.step, failure.action, failure.id, failure.device) == (0, "run", "a", "web")
    assert bench.value("a.exit_code") == "3"
    assert bench.recorder.of_kind("step_failed")[0]["message"] == failure.message


def test_stdout_is_shown_when_stderr_is_empty(bench: Bench) -> None:
    failure = bench.fails(Run(id="a", device="web", cmd=sh("seq 100; exit 1")))
    assert failure.output == tuple(str(number) for number in range(81, 101))


def test_a_signal_is_named(bench: Bench) -> None:
    failure = bench.fails(Run(id="a", device="web", cmd=sh("kill -SEGV $$$$")))
    assert failure.message == "a was ended by signal 11 (SIGSEGV)"
    assert bench.value("a.exit_code") == "-11"


@pytest.mark.parametrize("expected", [3, "any"])
def test_an_expected_exit_passes(bench: Bench, expected: int | str) -> None:
    bench.passes(Run(id="a", device="web", cmd=sh("exit 3"), expect_exit=expected))  # type: ignore[arg-type]


def test_an_unexpected_success_fails(bench: Bench) -> None:
    failure = bench.fails(Run(id="a", device="web", cmd=("true",), expect_exit=3))
    assert failure.message == "a exited with code 0, not with code 3"


def test_a_program_that_is_not_there(bench: Bench) -> None:
    failure = bench.fails(Run(id="a", device="web", cmd=("no-such-program",)))
    assert failure.message == "no-such-program: no such program"
    failure = Bench(bench.directory).fails(
        Run(id="b", device="web", cmd=("no-such",), captures=(Capture(name="x", regex="x"),))
    )
    assert failure.message == "no-such: no such program"


def test_environment_and_directory(bench: Bench) -> None:
    (bench.directory / "sub").mkdir()
    bench.passes(
        Run(
            id="a",
            device="web",
            cmd=sh('echo "$NETSIM_IP_WEB,$OWN,$PWD"'),
            env={"OWN": "to-$NETSIM_IP_web"},
            cwd="sub",
        )
    )
    assert bench.recorder.log("a") == f",to-198.18.1.2,{bench.directory}/sub\n".replace(",", "198.18.1.2,", 1).encode()


def test_run_timeout(bench: Bench) -> None:
    started = time.monotonic()
    failure = bench.fails(Run(id="a", device="web", cmd=sh("echo stuck >&2; exec sleep 60"), timeout_s=0.2))
    assert failure.message == "a did not end within 0.2 s"
    assert failure.phase == "step"
    assert failure.output == ("stuck",)
    assert time.monotonic() - started < 5
    assert bench.alive() == []


def test_wait_for_collects_the_exit(bench: Bench) -> None:
    failure = bench.fails(Spawn(id="a", device="web", cmd=sh("sleep 0.05; echo why >&2; exit 4")), WaitFor(id="a"))
    assert failure.message == "a exited with code 4"
    assert failure.output == ("why",)
    assert failure.action == "wait-for"


def test_wait_for_honours_expect_exit_of_either_step(tmp_path: Path) -> None:
    for number, (at_spawn, at_wait) in enumerate([(4, None), (None, 4), (None, "any"), (0, 4)]):
        (tmp_path / f"x{number}").mkdir()
        Bench(tmp_path / f"x{number}").passes(
            Spawn(id="a", device="web", cmd=sh("exit 4"), expect_exit=at_spawn),
            WaitFor(id="a", expect_exit=at_wait),  # type: ignore[arg-type]
        )


def test_wait_for_timeout(bench: Bench) -> None:
    failure = bench.fails(Spawn(id="a", device="web", cmd=("sleep", "60")), WaitFor(id="a", timeout_s=0.1))
    assert failure.message == "a did not end within 0.1 s"


def test_a_spawned_program_that_dies_unnoticed_does_not_fail_the_sim(bench: Bench) -> None:
    recorder = bench.passes(Spawn(id="a", device="web", cmd=sh("exit 9")), Wait(duration_s=0.1))
    assert recorder.of_kind("process_exited")[0]["exit_code"] == 9


def test_ready_after_pauses(bench: Bench) -> None:
    started = time.monotonic()
    bench.passes(Spawn(id="a", device="web", cmd=("sleep", "60"), ready_after_s=0.2))
    assert time.monotonic() - started >= 0.2
    assert bench.alive() == []


def test_the_end_terminates_whole_groups(bench: Bench) -> None:
    bench.passes(Spawn(id="a", device="web", cmd=sh("sleep 61 & sleep 62 & wait")), Wait(duration_s=0.1))
    assert bench.alive() == []
    assert bench.value("a.exit_code") == "-15"


def test_the_end_waits_no_longer_than_programs_take(bench: Bench) -> None:
    started = time.monotonic()
    spawned = [Spawn(id=f"a{number}", device="web", cmd=("sleep", "60")) for number in range(20)]
    bench.passes(*spawned)
    assert time.monotonic() - started < 0.9
    assert bench.alive() == []


def test_the_end_kills_what_ignores_termination(bench: Bench) -> None:
    started = time.monotonic()
    script = "trap '' TERM; (trap '' TERM; echo up; while :; do sleep 1; done) & while :; do sleep 1; done"
    assert bench.run(Spawn(id="a", device="web", cmd=sh(script)), Wait(duration_s=0.2), grace_s=0.3) is None
    assert 0.5 <= time.monotonic() - started < 4
    assert bench.alive() == []
    assert bench.value("a.exit_code") == "-9"


def test_the_end_reaches_stopped_programs(bench: Bench) -> None:
    started = time.monotonic()
    bench.passes(Spawn(id="a", device="web", cmd=sh("kill -STOP $$$$; sleep 60")), Wait(duration_s=0.1))
    assert time.monotonic() - started < 0.9
    assert bench.alive() == []


def test_children_that_outlive_a_run_are_ended_with_the_sim(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=sh("sleep 63 & echo left")),
        Run(id="b", device="web", cmd=("true",)),
    )
    assert recorder.log("a") == b"left\n"
    assert bench.alive() == []


def test_output_on_the_way_out_is_kept(bench: Bench) -> None:
    script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.01; done"
    captures = (Capture(name="word", regex="(bye|up)"),)
    recorder = bench.passes(
        Spawn(id="a", device="web", cmd=sh(script)),
        Spawn(id="b", device="web", cmd=sh(script), captures=captures),
        Wait(duration_s=0.2),
    )
    assert recorder.log("a") == recorder.log("b") == b"up\nbye\n"
    assert recorder.node_log().count(b"bye\n") == 2
    assert recorder.values["b.word"].history == ("up", "bye")


def test_an_exit_in_the_last_moment_is_told(bench: Bench) -> None:
    script = "setsid sleep 1 & exec sleep 60"
    captures = (Capture(name="x", regex="x"),)
    recorder = bench.passes(Spawn(id="a", device="web", cmd=sh(script), captures=captures), Wait(duration_s=0.2))
    assert recorder.of_kind("process_exited")[0]["exit_code"] == -15
    assert bench.value("a.exit_code") == "-15"


def test_sim_timeout_inside_a_step(bench: Bench) -> None:
    started = time.monotonic()
    failure = bench.fails(Run(id="a", device="web", cmd=sh("echo busy; exec sleep 60")), timeout_s=0.3)
    assert failure.phase == "timeout"
    assert failure.message == "the sim did not end within 0.3 s"
    assert failure.output == ("busy",)
    assert time.monotonic() - started < 4
    assert bench.alive() == []


@pytest.mark.parametrize("step", [Wait(duration_s=60), Run(id="a", device="web", cmd=("sleep", "60"))])
def test_cancelling_ends_cleanly(bench: Bench, step: Wait | Run) -> None:
    async def scenario() -> float:
        running = asyncio.ensure_future(bench.run_async(Spawn(id="s", device="web", cmd=("sleep", "60")), step))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        running.cancel()
        failure = await running
        assert failure is not None
        assert (failure.phase, failure.step) == ("interrupted", 1)
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 1
    assert bench.alive() == []
    assert len(bench.recorder.verdicts) == 1


def test_cancelling_twice_kills_at_once(bench: Bench) -> None:
    async def scenario() -> float:
        steps = [Spawn(id="s", device="web", cmd=sh("trap '' TERM; while :; do sleep 1; done")), Wait(duration_s=60)]
        running = asyncio.ensure_future(bench.run_async(*steps, grace_s=30))
        await asyncio.sleep(0.2)
        started = time.monotonic()
        running.cancel()
        await asyncio.sleep(0.1)
        running.cancel()
        await running
        return time.monotonic() - started

    assert asyncio.run(scenario()) < 3
    assert bench.alive() == []


def test_a_full_disk_fails_the_step(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(bench.recorder, "open_log", lambda *_: os.open("/dev/full", os.O_WRONLY | os.O_CLOEXEC))
    captures = (Capture(name="x", regex="x"), Capture(name="y", regex="x", pipe="stderr"))
    failure = bench.fails(Run(id="a", device="web", cmd=sh("echo x; sleep 5"), captures=captures))
    assert failure.message == "cannot write a log: No space left on device"


def test_a_defect_is_raised_after_a_clean_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bench.network, "link_down", broken)
    from patchbay_runner.model.steps import LinkDown

    with pytest.raises(ZeroDivisionError):
        bench.run(Spawn(id="a", device="web", cmd=("sleep", "60")), LinkDown(device="web", interface="eth0"))
    assert bench.alive() == []
    assert bench.recorder.verdicts == []


def test_no_descriptor_is_left_open(bench: Bench) -> None:
    def count() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = count()
    captures = (Capture(name="x", regex="x"),)
    bench.passes(
        Run(id="a", device="web", cmd=sh("echo x"), captures=captures),
        Run(id="b", device="web", cmd=sh("echo x")),
        Spawn(id="c", device="web", cmd=("sleep", "60"), captures=captures),
        Spawn(id="d", device="web", cmd=sh("sleep 64 &"), captures=captures),
        Wait(duration_s=0.1),
    )
    assert count() == before
