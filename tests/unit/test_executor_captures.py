"""Captures of running programs, and steps that wait for them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from patchbay_runner.executor import ending
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.recording import HISTORY_LIMIT
from patchbay_runner.model.steps import Assert, Capture, Run, Spawn, Step, Wait, WaitFor
from tests.unit.executor_support import Bench, sh

READY = Capture(name="ready", regex=r"ready (\w+)")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    # Where init does not reap, killed children of ended programs look alive for ever.
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def wait_step(**fields: object) -> Run:
    """A step that waits for a.ready."""
    return Run(id="b", device="web", cmd=("true",), requires=("a.ready",), **fields)  # type: ignore[arg-type]


def test_a_capture_of_each_pipe(bench: Bench) -> None:
    captures = (READY, Capture(name="problem", pipe="stderr", regex="warning: (.*)"))
    recorder = bench.passes(
        Run(
            id="a",
            device="web",
            cmd=sh("echo ready yes; echo warning: no >&2; echo warning: on stdout"),
            captures=captures,
        )
    )
    assert bench.value("a.ready") == "yes"
    assert bench.value("a.problem") == "no"
    assert recorder.values["a.problem"].count == 1
    assert recorder.log("a") == b"ready yes\nwarning: on stdout\n"
    assert recorder.log("a", "stderr") == b"warning: no\n"
    assert [fields["key"] for fields in recorder.of_kind("capture_recorded")] == ["a.problem", "a.ready"]


def test_a_step_waits_for_a_capture_of_a_running_program(bench: Bench) -> None:
    bench.passes(
        Spawn(id="a", device="web", cmd=sh("sleep 0.2; echo ready go; exec sleep 60"), captures=(READY,)),
        Run(id="b", device="web", cmd=("echo", "got ${a.ready}")),
    )
    assert bench.recorder.log("b") == b"got go\n"


def test_requires_waits(bench: Bench) -> None:
    started = time.monotonic()
    bench.passes(
        Spawn(id="a", device="web", cmd=sh("sleep 0.2; echo ready go; exec sleep 60"), captures=(READY,)), wait_step()
    )
    assert 0.2 <= time.monotonic() - started < 5


def test_waiting_ends_with_the_steps_timeout(bench: Bench) -> None:
    spawn = Spawn(id="a", device="web", cmd=sh("echo thinking >&2; exec sleep 60"), captures=(READY,))
    failure = bench.fails(spawn, wait_step(timeout_s=0.2))
    assert failure.message == "a.ready was not captured within 0.2 s"
    assert failure.output == ("thinking",)
    assert failure.step == 1


@pytest.mark.parametrize(
    ("script", "how"),
    [
        ("sleep 0.1; echo broken >&2; exit 7", "exited with code 7"),
        ("sleep 0.1; echo broken >&2", "exited with code 0"),
        ("sleep 0.1; echo broken >&2; kill -9 $$$$", "was ended by signal 9 (SIGKILL)"),
    ],
)
def test_a_program_that_dies_fails_the_waiting_step_at_once(bench: Bench, script: str, how: str) -> None:
    started = time.monotonic()
    failure = bench.fails(Spawn(id="a", device="web", cmd=sh(script), captures=(READY,)), wait_step())
    assert failure.message == f"a {how} without ready"
    assert failure.output == ("broken",)
    assert time.monotonic() - started < 3


def test_a_program_that_is_already_dead(bench: Bench) -> None:
    failure = bench.fails(
        Spawn(id="a", device="web", cmd=sh("exit 7"), captures=(READY,)), Wait(duration_s=0.1), wait_step()
    )
    assert failure.message == "a exited with code 7 without ready"


def test_a_failed_program_whose_child_holds_the_pipe(bench: Bench) -> None:
    failure = bench.fails(Spawn(id="a", device="web", cmd=sh("sleep 60 & exit 7"), captures=(READY,)), wait_step())
    assert failure.message == "a exited with code 7 without ready"


def test_a_daemon_goes_on_producing(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=sh("(sleep 0.5; echo ready late; sleep 60) & echo forked"), captures=(READY,)),
        wait_step(),
    )
    assert bench.value("a.ready") == "late"
    assert recorder.log("a") == b"forked\nready late\n"
    assert recorder.node_log() == b"forked\nready late\n"


def test_a_closed_pipe_fails_the_waiting_step_while_the_program_lives(bench: Bench) -> None:
    failure = bench.fails(
        Spawn(id="a", device="web", cmd=sh("exec >&-; exec sleep 60"), captures=(READY,)), wait_step()
    )
    assert failure.message == "a closed its stdout without ready"


def test_a_program_without_stdout_goes_on(bench: Bench) -> None:
    bench.passes(
        Run(
            id="a",
            device="web",
            cmd=sh("exec >&-; sleep 0.1; echo ready e >&2"),
            captures=(READY, Capture(name="e", pipe="stderr", regex="ready (.)")),
        )
    )
    assert bench.value("a.e") == "e"


def test_a_capture_that_nobody_makes(bench: Bench) -> None:
    failure = bench.fails(wait_step())
    assert failure.message == "a.ready can never appear: no program of a step 'a' has been started"
    other = Bench(bench.directory).fails(Spawn(id="a", device="web", cmd=("sleep", "60")), wait_step())
    assert other.message == "a has no capture 'ready'"


def test_exit_code_of_a_running_program_can_be_waited_for(bench: Bench) -> None:
    bench.passes(
        Spawn(id="a", device="web", cmd=sh("sleep 0.1; exit 5")),
        Run(id="b", device="web", cmd=("echo", "${a.exit_code}")),
    )
    assert bench.recorder.log("b") == b"5\n"


def test_the_latest_value_and_its_history(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=sh("for i in 1 2 3; do echo ready $i; done"), captures=(READY,)),
        Run(id="b", device="web", cmd=("echo", "${a.ready}")),
    )
    assert recorder.log("b") == b"3\n"
    assert recorder.values["a.ready"].history == ("1", "2", "3")


def test_history_is_cut(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=("seq", "-f", "ready %.0f", "25000"), captures=(READY,)),
    )
    capture = recorder.values["a.ready"]
    assert (capture.value, capture.count, capture.is_cut) == ("25000", 25_000, True)
    assert len(capture.history) == HISTORY_LIMIT
    assert capture.history[0] == "15001"


def test_a_chatty_capture_is_reported_seldom(bench: Bench) -> None:
    script = "i=0; while [ $i -lt 200 ]; do echo ready $i; i=$((i+1)); sleep 0.002; done; exec sleep 60"
    steps: list[Step] = [Spawn(id="a", device="web", cmd=sh(script), captures=(READY,))]
    steps += [Wait(duration_s=0.01) for _ in range(60)]
    recorder = bench.passes(*steps)
    assert len(recorder.of_kind("capture_recorded")) <= 6
    assert recorder.of_kind("capture_recorded")[-1]["count"] == recorder.values["a.ready"].count


def test_json_document_after_exit(bench: Bench) -> None:
    document = json.dumps({"end": {"bytes": 12}}, indent=1)
    (bench.directory / "document").write_text(document)
    captures = (
        Capture(name="bytes", pick=".end.bytes"),
        Capture(name="brace", regex=r"^(\{)$"),
        Capture(name="missing", pick=".no"),
    )
    bench.passes(Run(id="a", device="web", cmd=("cat", "document"), parser="json", captures=captures))
    assert bench.value("a.bytes") == "12"
    assert bench.value("a.brace") == "{"
    assert "a.missing" not in bench.recorder.values


def test_json_on_stderr_while_stdout_is_text(bench: Bench) -> None:
    captures = (Capture(name="x", pipe="stderr", pick=".x"),)
    bench.passes(
        Run(id="a", device="web", cmd=sh("""echo text; echo '{"x": 1}' >&2"""), parser="json", captures=captures)
    )
    assert bench.value("a.x") == "1"


def test_a_program_that_fails_as_expected_need_not_write_its_document(bench: Bench) -> None:
    captures = (Capture(name="x", pick=".x"),)
    bench.passes(Run(id="a", device="web", cmd=sh("exit 1"), parser="json", captures=captures, expect_exit=1))


@pytest.mark.parametrize(
    ("script", "expected"), [("exit 0", 0), ("echo no; exit 1", 1)], ids=["it-did-not-fail", "it-wrote-something"]
)
def test_otherwise_it_has_to(bench: Bench, script: str, expected: int) -> None:
    captures = (Capture(name="x", pick=".x"),)
    failure = bench.fails(
        Run(id="a", device="web", cmd=sh(script), parser="json", captures=captures, expect_exit=expected)
    )
    assert "not a JSON document" in failure.message


def test_a_document_that_does_not_parse_fails_run_and_wait_for(bench: Bench) -> None:
    captures = (Capture(name="x", pick=".x"),)
    command = sh("echo '{'; echo ' oops }'")
    failure = bench.fails(Run(id="a", device="web", cmd=command, parser="json", captures=captures))
    expected = "stdout of a is not a JSON document: expecting property name enclosed in double quotes at byte 3, line 2"
    assert failure.message == expected
    assert failure.output[0] == " oops }"
    other = Bench(bench.directory / "2")
    other.directory.mkdir()
    failure = other.fails(Spawn(id="a", device="web", cmd=command, parser="json", captures=captures), WaitFor(id="a"))
    assert failure.message == expected
    third = Bench(bench.directory / "3")
    third.directory.mkdir()
    failure = third.fails(
        Spawn(id="a", device="web", cmd=command, parser="json", captures=captures),
        Run(id="b", device="web", cmd=("true",), requires=("a.x",)),
    )
    assert failure.message == f"a exited with code 0 without x; {expected}"


def test_a_failing_exit_comes_before_its_broken_document(bench: Bench) -> None:
    captures = (Capture(name="x", pick=".x"),)
    failure = bench.fails(Run(id="a", device="web", cmd=sh("echo oops; exit 2"), parser="json", captures=captures))
    assert failure.message == "a exited with code 2"


def test_captures_of_a_failing_run_are_kept(bench: Bench) -> None:
    captures = (Capture(name="error", pick=".error"),)
    command = sh("""echo '{"error": "refused"}'; exit 1""")
    bench.fails(Run(id="a", device="web", cmd=command, parser="json", captures=captures))
    assert bench.value("a.error") == "refused"


def test_ndjson(bench: Bench) -> None:
    captures = (
        Capture(name="size", match={"kind": "done"}, pick=".size"),
        Capture(name="plain", regex="^plain (.*)"),
    )
    script = """echo plain text; echo '{"kind":"done","size":1}'; echo '{"kind":"x","size":2}'; """
    script += """printf '{"kind":"done","size":3}'"""
    bench.passes(Run(id="a", device="web", cmd=sh(script), parser="ndjson", captures=captures))
    assert bench.recorder.values["a.size"].history == ("1", "3")
    assert bench.value("a.plain") == "text"


def test_a_long_line_is_survived_and_reported(bench: Bench) -> None:
    recorder = bench.passes(
        Run(
            id="a",
            device="web",
            cmd=sh("head -c 100000000 /dev/zero; echo; echo ready after"),
            captures=(READY,),
        )
    )
    assert bench.value("a.ready") == "after"
    assert recorder.of_kind("lines_cut")[0]["lines"] == 1
    for path in recorder.directory.rglob("*stdout.log"):
        assert path.stat().st_size == 100_000_013
        path.unlink()


def test_output_that_is_not_utf8(bench: Bench) -> None:
    recorder = bench.passes(Run(id="a", device="web", cmd=sh(r"printf '\377\376 ready ok\n'"), captures=(READY,)))
    assert bench.value("a.ready") == "ok"
    assert recorder.log("a") == recorder.node_log() == b"\xff\xfe ready ok\n"


def test_a_program_that_truncates_its_own_output(bench: Bench) -> None:
    recorder = bench.passes(Run(id="a", device="web", cmd=sh("echo first line; echo second > /dev/stdout")))
    assert b"second\n" in recorder.log("a")


def test_an_assertion_waits_for_a_running_program(bench: Bench) -> None:
    bench.passes(
        Spawn(id="a", device="web", cmd=sh("sleep 0.2; echo ready go; exec sleep 60"), captures=(READY,)),
        Assert(checks=(parse_assertion("a.ready == go"),)),
    )
