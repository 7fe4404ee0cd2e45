"""stop, restart, signal and wait-for-capture."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from patchbay_runner.executor import ending
from patchbay_runner.model.steps import (
    Capture,
    Readiness,
    Restart,
    Run,
    Signal,
    Spawn,
    Stop,
    Wait,
    WaitFor,
    WaitForCapture,
)
from tests.unit.executor_support import Bench, sh

READY = (Capture(name="ready", regex="ready.*"),)
# Says how it was signalled, and goes on.
TALKER = sh('for s in HUP USR1; do trap "echo got $s" $s; done; echo ready; while :; do sleep 0.01; done')
ENDED = WaitForCapture(capture="server.exit_code", timeout_s=30.0)
GOT = (*READY, Capture(name="got", regex="got (.*)"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # Where init does not reap, killed children of ended programs look alive for ever.
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def server(*command: str, step_id: str = "server") -> Spawn:
    return Spawn(id=step_id, device="web", cmd=command, captures=READY)


def ready(count: int = 1) -> WaitForCapture:
    return WaitForCapture(capture="server.ready", count=count, timeout_s=10.0)


def test_stop_waits_for_the_end_and_records_it(bench: Bench) -> None:
    recorder = bench.passes(
        server(*sh("trap 'sleep 0.1; echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done")),
        ready(),
        Stop(id="server"),
        Run(id="after", device="web", cmd=("true",)),
        WaitFor(id="server"),
    )
    assert bench.value("server.exit_code") == "7"
    assert b"bye" in recorder.log("server")
    assert recorder.of_kind("process_signalled") == [{"id": "server", "device": "web", "signal": "SIGTERM"}]
    exits = [fields["id"] for fields in recorder.of_kind("process_exited")]
    assert exits == ["server", "after"]


def test_stop_kills_what_does_not_end(bench: Bench) -> None:
    started_s = time.monotonic()
    bench.passes(
        server(*sh("trap '' TERM; echo ready; while :; do sleep 0.01; done")), ready(), Stop(id="server", grace_s=0.1)
    )
    assert bench.value("server.exit_code") == "-9"
    assert time.monotonic() - started_s < 10


def test_stop_ends_the_whole_process_group(bench: Bench) -> None:
    """What listens is often a child; with it gone its port is free."""
    bench.passes(server(*sh("sleep 100 & echo ready; sleep 100")), ready(), Stop(id="server"))
    assert bench.alive() == []


def test_stop_wakes_a_stopped_program(bench: Bench) -> None:
    bench.passes(
        server(*sh("echo ready; exec sleep 100")),
        ready(),
        Signal(id="server", signal=signal.SIGSTOP),
        Stop(id="server"),
    )
    assert bench.value("server.exit_code") == "-15"


def test_stop_with_another_signal_and_an_expected_exit(bench: Bench) -> None:
    stopping = Stop(id="server", signal=signal.SIGINT, expect_exit=-2)
    bench.passes(server(*sh("echo ready; exec sleep 100")), ready(), stopping)


def test_stop_fails_when_the_program_ends_otherwise_than_expected(bench: Bench) -> None:
    failure = bench.fails(server(*sh("echo ready; exec sleep 100")), ready(), Stop(id="server", expect_exit=0))
    assert failure.message == "server was ended by signal 15 (SIGTERM), not with code 0"
    assert (failure.step, failure.action) == (2, "stop")


def test_stop_of_a_program_that_crashed_fails(bench: Bench) -> None:
    """Else a server that died before its time would go unnoticed."""
    failure = bench.fails(server(*sh("echo broken >&2; exit 3")), ENDED, Stop(id="server"))
    assert failure.message == "server exited with code 3"
    assert failure.output == ("broken",)


def test_stop_twice_is_no_failure(bench: Bench) -> None:
    bench.passes(server(*sh("echo ready; exec sleep 100")), ready(), Stop(id="server"), Stop(id="server"))


def test_the_time_of_the_sim_ends_a_stop_that_waits(bench: Bench) -> None:
    stubborn = sh("trap '' TERM; echo ready; while :; do sleep 0.01; done")
    started_s = time.monotonic()
    failure = bench.fails(server(*stubborn), ready(), Stop(id="server", grace_s=60.0), timeout_s=1.0, grace_s=0.1)
    assert failure.phase == "timeout"
    assert time.monotonic() - started_s < 20


def test_signals_reach_the_program(bench: Bench) -> None:
    bench.passes(
        Spawn(id="server", device="web", cmd=TALKER, captures=GOT),
        ready(),
        Signal(id="server", signal=signal.SIGHUP),
        WaitForCapture(capture="server.got", timeout_s=10.0),
        Signal(id="server", signal=signal.SIGUSR1, group=False),
        WaitForCapture(capture="server.got", count=2, timeout_s=10.0),
        Stop(id="server"),
    )
    assert bench.recorder.values["server.got"].history == ("HUP", "USR1")


def test_a_signal_reaches_children_only_when_asked(bench: Bench) -> None:
    """The child is ended by the signal, and its parent, which ignores it, tells."""
    child = "env --default-signal=USR1 sh -c 'echo ready; exec sleep 100'"
    script = f"trap '' USR1; {child} & wait $!; echo got $?; sleep 100"
    captures = (*READY, Capture(name="got", regex="got (.*)"))
    recorder = bench.passes(
        Spawn(id="server", device="web", cmd=sh(script), captures=captures),
        ready(),
        Signal(id="server", signal=signal.SIGUSR1),
        Wait(duration_s=0.3),
        Run(id="silent", device="web", cmd=("true",)),
        Signal(id="server", signal=signal.SIGUSR1, group=True),
        WaitForCapture(capture="server.got", timeout_s=10.0),
    )
    assert bench.value("server.got") == str(128 + signal.SIGUSR1)
    kinds = recorder.kinds()
    last_signal = len(kinds) - 1 - kinds[::-1].index("process_signalled")
    assert all(fields.get("key") != "server.got" for _, fields in recorder.events[:last_signal])


def test_a_signal_to_an_ended_program_fails(bench: Bench) -> None:
    failure = bench.fails(server("true"), WaitFor(id="server"), Signal(id="server", signal=signal.SIGHUP))
    assert failure.message == "server exited with code 0 already"


def test_restart_keeps_logs_and_captures_going(bench: Bench) -> None:
    counting = sh("echo x >> count; echo ready $(wc -l < count); exec sleep 100")
    recorder = bench.passes(
        Spawn(id="server", device="web", cmd=counting, captures=READY, env={"A": "b"}),
        ready(),
        Restart(id="server"),
        ready(2),
        Restart(id="server", signal=signal.SIGKILL),
        ready(3),
        Stop(id="server"),
    )
    assert recorder.values["server.ready"].history == ("ready 1", "ready 2", "ready 3")
    assert recorder.log("server") == b"ready 1\nready 2\nready 3\n"
    assert recorder.values["server.exit_code"].history == ("-15", "-9", "-15")
    started = recorder.of_kind("process_started")
    assert len({fields["pid"] for fields in started}) == 3
    assert [fields["argv"] for fields in started] == [list(counting)] * 3


def test_restart_starts_a_program_that_has_crashed(bench: Bench) -> None:
    bench.passes(
        server(*sh("test -e again && { echo ready; exec sleep 100; }; touch again; exit 1")),
        ENDED,
        Restart(id="server"),
        ready(),
        Stop(id="server"),
    )


def test_a_restarted_program_that_fails_is_a_failure(bench: Bench) -> None:
    script = sh("test -e again && exit 4; touch again; echo ready; exec sleep 100")
    failure = bench.fails(server(*script), ready(), Restart(id="server"), WaitFor(id="server", timeout_s=10.0))
    assert failure.message == "server exited with code 4"


def test_empty_logs_are_not_mixed_up_by_a_restart(bench: Bench) -> None:
    """The empty log of an ended program may have become another's by then."""
    script = sh("test -e again && echo second; touch again; exec sleep 100")
    silent = [Run(id=f"silent-{number}", device="web", cmd=("true",)) for number in range(3)]
    recorder = bench.passes(
        Spawn(id="server", device="web", cmd=script, ready_when=Readiness(file="again")),
        Stop(id="server"),
        *silent,
        Restart(id="server"),
        Run(id="poll", device="web", cmd=sh("until test -s sim/nodes/web/server.stdout.log; do sleep 0.01; done")),
        *[Run(id=f"later-{number}", device="web", cmd=("true",)) for number in range(3)],
        Stop(id="server"),
    )
    assert recorder.log("server") == b"second\n"
    for number in range(3):
        assert recorder.log(f"silent-{number}") == recorder.log(f"later-{number}") == b""


def test_waiting_for_more_captures_than_come_fails_at_once(bench: Bench) -> None:
    waiting = WaitForCapture(capture="server.ready", count=2, timeout_s=60.0)
    started_s = time.monotonic()
    failure = bench.fails(server(*sh("echo ready; echo oh no >&2")), waiting)
    assert failure.message == ("server.ready was captured 1 of 2 times: server exited with code 0 without ready")
    assert failure.output == ("oh no",)
    assert time.monotonic() - started_s < 30


def test_waiting_for_a_capture_has_a_limit(bench: Bench) -> None:
    waiting = WaitForCapture(capture="server.ready", count=2, timeout_s=0.2)
    failure = bench.fails(server(*sh("echo ready; exec sleep 100")), waiting)
    assert failure.message == "server.ready was not captured 2 times within 0.2 s"


def test_captures_of_a_step_with_dots_in_its_id(bench: Bench) -> None:
    waiting = WaitForCapture(capture="a.b.ready", timeout_s=10.0)
    bench.passes(server(*sh("sleep 0.2; echo ready"), step_id="a.b"), waiting)
