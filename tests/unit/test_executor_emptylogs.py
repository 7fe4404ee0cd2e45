"""Empty logs that become the logs of later programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from patchbay_runner.executor.emptylogs import EmptyLogs
from patchbay_runner.model.assertions import parse_assertion
from patchbay_runner.model.steps import Assert, Capture, Run, Wait
from tests.unit.executor_support import Bench, sh


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_every_program_has_its_logs_in_the_end(bench: Bench) -> None:
    scripts = ["true", "echo one", "true", "true", "echo two >&2", "true"]
    recorder = bench.passes(
        *[Run(id=f"r{number}", device="web", cmd=sh(script)) for number, script in enumerate(scripts)]
    )
    assert [recorder.log(f"r{number}") for number in range(6)] == [b"", b"one\n", b"", b"", b"", b""]
    assert [recorder.log(f"r{number}", "stderr") for number in range(6)] == [b"", b"", b"", b"", b"two\n", b""]
    assert recorder.node_log() == b"one\n"
    assert recorder.node_log("stderr") == b"two\n"


def test_an_empty_log_is_used_again(bench: Bench) -> None:
    steps = [Run(id=f"r{number}", device="web", cmd=sh("stat -L -c %i /dev/stderr")) for number in range(6)]
    recorder = bench.passes(*steps)
    inodes = [recorder.log(f"r{number}") for number in range(6)]
    # The first stays where it is, as what stands in for the others; the second goes from step to step.
    assert len(set(inodes)) == 2
    assert len(set(inodes[1:])) == 1


def test_every_log_is_in_its_place_while_the_sim_runs(bench: Bench) -> None:
    silent = [Run(id=f"r{number}", device="web", cmd=("true",)) for number in range(4)]
    logs = [bench.recorder.log_path("web", step.id, stream) for step in silent for stream in ("stdout", "stderr")]
    bench.passes(*silent, Run(id="look", device="web", cmd=("ls", *map(str, logs))))


def test_a_log_that_a_daemon_holds_stays_its_own(bench: Bench) -> None:
    recorder = bench.passes(
        Run(id="a", device="web", cmd=sh("setsid sh -c 'sleep 0.4; echo late' &")),
        *[Run(id=f"r{number}", device="web", cmd=("true",)) for number in range(5)],
        Wait(duration_s=0.8),
    )
    assert recorder.log("a") == b"late\n"
    assert all(recorder.log(f"r{number}") == b"" for number in range(5))
    assert recorder.node_log() == b"late\n"


def test_messages_about_a_program_whose_log_is_used_again(bench: Bench) -> None:
    silent = Run(id="a", device="web", cmd=("true",), captures=(Capture(name="v", regex="v", pipe="stderr"),))
    others = [Run(id=f"r{number}", device="web", cmd=("echo", "other")) for number in range(3)]
    failure = bench.fails(silent, *others, Assert(checks=(parse_assertion("a.v == 1"),)))
    assert failure.message == "a exited with code 0 without v"
    assert failure.output == ()


def test_a_log_that_is_open_or_not_empty_is_left_alone(tmp_path: Path) -> None:
    logs = EmptyLogs()
    target = tmp_path / "new"

    def offer(name: str) -> Path:
        path = tmp_path / name
        path.touch()
        logs.offer("web", "stdout", path)
        return path

    stand_in = offer("stand-in")
    logs.provide("web", "stdout", target)
    assert not target.exists()

    path = offer("held")
    with path.open("rb"):
        logs.provide("web", "stdout", target)
    assert not target.exists()

    offer("full").write_bytes(b"x")
    logs.provide("web", "stdout", target)
    assert not target.exists()

    offer("gone").unlink()
    logs.provide("web", "stdout", target)
    assert not target.exists()

    path = offer("free")
    inode = path.stat().st_ino
    logs.provide("other", "stdout", target)
    logs.provide("web", "stderr", target)
    assert not target.exists()
    logs.provide("web", "stdout", target)
    assert target.stat().st_ino == inode
    assert path.samefile(stand_in)


def test_without_hard_links_every_program_gets_new_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    recorder = Bench(tmp_path).passes(*[Run(id=f"r{number}", device="web", cmd=("true",)) for number in range(6)])
    inodes = {recorder.log_path("web", f"r{number}", "stdout").stat().st_ino for number in range(6)}
    assert len(inodes) == 6
