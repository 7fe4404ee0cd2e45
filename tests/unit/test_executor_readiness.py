"""ready_when of spawn steps."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

import pytest

from patchbay_runner.executor import ending
from patchbay_runner.model.steps import Capture, Protocol, Readiness, Restart, Spawn, Wait
from tests.unit.executor_support import Bench, sh

# Programs take longer to get ready, but their age is counted from when their start was seen, which may be later.
LATER_S = 0.05


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(ending, "_KILL_PATIENCE_S", 0.2)
    return Bench(tmp_path)


def spawn(ready_when: Readiness, *cmd: str, timeout_s: float = 30.0, **more: object) -> Spawn:
    return Spawn(id="p", device="web", cmd=cmd, ready_when=ready_when, timeout_s=timeout_s, **more)  # type: ignore[arg-type]


def listening(family: str, kind: str, port: int, delay_s: float = 0.3) -> tuple[str, ...]:
    """A command that listens after a while."""
    script = f"""
import socket, time
s = socket.socket(socket.{family}, socket.{kind})
time.sleep({delay_s})
s.bind(("", {port}))
if "{kind}" == "SOCK_STREAM": s.listen()
time.sleep(100)
"""
    return (sys.executable, "-c", script)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET6, kind) as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_capture(bench: Bench) -> None:
    captures = (Capture(name="ready", regex="ready"),)
    recorder = bench.passes(
        spawn(Readiness(capture="ready"), *sh("sleep 0.2; echo ready; sleep 100"), captures=captures)
    )
    (ready,) = recorder.of_kind("process_ready")
    assert (ready["id"], ready["device"]) == ("p", "web")
    assert LATER_S < ready["after_s"] < 30


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
@pytest.mark.parametrize(("kind", "protocol"), [("SOCK_STREAM", "tcp"), ("SOCK_DGRAM", "udp")])
def test_a_port(bench: Bench, family: str, kind: str, protocol: Protocol) -> None:
    port = free_port(socket.SocketKind[kind])
    recorder = bench.passes(spawn(Readiness(port=port, protocol=protocol), *listening(family, kind, port)))
    assert LATER_S < recorder.of_kind("process_ready")[0]["after_s"] < 30


def test_a_port_that_another_has_does_not_count(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        failure = bench.fails(spawn(Readiness(port=port), *sh("exec sleep 100"), timeout_s=0.3))
    assert failure.message == f"p was not ready within 0.3 s: nothing new listens on TCP port {port} of web"


@pytest.mark.parametrize("name", ["made", "$PATCHBAY_NODE_DIR/made", "${OWN}/made"])
def test_a_file(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.network.node_directory = tmp_path
    ready_when = Readiness(file=name)
    recorder = bench.passes(
        spawn(ready_when, *sh(f"sleep 0.2; touch {tmp_path}/made; sleep 100"), env={"OWN": str(tmp_path)})
    )
    assert recorder.of_kind("process_ready")[0]["after_s"] > LATER_S


def test_a_file_of_before_does_not_count_until_it_is_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "old").touch()
    recorder = bench.passes(spawn(Readiness(file="old"), *sh("sleep 0.3; echo x > old; sleep 100")))
    assert recorder.of_kind("process_ready")[0]["after_s"] > LATER_S


def test_a_relative_file_is_below_the_working_directory(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    bench.passes(spawn(Readiness(file="x"), *sh("touch x; sleep 100"), cwd="below"))


def test_a_program_that_dies_fails_at_once_with_its_last_words(bench: Bench) -> None:
    started_s = time.monotonic()
    failure = bench.fails(spawn(Readiness(file="never"), *sh("echo no configuration >&2; sleep 0.1; exit 3")))
    assert failure.message == f"p exited with code 3 before it was ready: there is no new file {bench.directory}/never"
    assert failure.output == ("no configuration",)
    assert time.monotonic() - started_s < 20


def test_a_program_that_dies_before_its_capture_fails_at_once(bench: Bench) -> None:
    captures = (Capture(name="ready", regex="ready"),)
    failure = bench.fails(spawn(Readiness(capture="ready"), *sh("echo oh >&2; exit 3"), captures=captures))
    assert (failure.message, failure.output) == ("p exited with code 3 without ready", ("oh",))


def test_a_program_that_forked_away_is_ready(bench: Bench) -> None:
    bench.passes(spawn(Readiness(file="made"), *sh("touch made")))


def test_a_program_that_ends_well_without_being_ready_fails(bench: Bench) -> None:
    failure = bench.fails(spawn(Readiness(file="made"), "true"))
    assert failure.message.startswith("p exited with code 0 before it was ready")


def test_a_restarted_program_is_waited_for_anew(bench: Bench) -> None:
    captures = (Capture(name="ready", regex="ready"),)
    script = sh("sleep 0.3; echo ready; sleep 100")
    recorder = bench.passes(spawn(Readiness(capture="ready"), *script, captures=captures), Restart(id="p"))
    ready = recorder.of_kind("process_ready")
    # At once, if the first start's capture counted; a busy machine notes late when a program was started.
    assert [fields["after_s"] > LATER_S for fields in ready] == [True, True]


def test_a_restarted_program_has_the_time_of_the_restart(bench: Bench) -> None:
    script = sh("test -e again && sleep 100; touch again made; sleep 100")
    failure = bench.fails(spawn(Readiness(file="made"), *script), Wait(duration_s=0.01), Restart(id="p", timeout_s=0.3))
    assert failure.message == f"p was not ready within 0.3 s: there is no new file {bench.directory}/made"
    assert failure.action == "restart"
