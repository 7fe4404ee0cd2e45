"""What a failed sim keeps of its nodes, and that nothing of it can stop or change the sim's end."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from patchbay_runner.errors import AssertionFailed
from patchbay_runner.executor import failure_state, run_plan
from patchbay_runner.model.steps import Run, Spawn, Wait
from tests.unit.executor_support import Bench, sh

BROKEN = Run(id="broken", device="web", cmd=sh("exit 3"))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)
    bench.keeps_failure_state = True
    programs(monkeypatch, routes=sh("echo a route"))
    return bench


def programs(monkeypatch: pytest.MonkeyPatch, **commands: tuple[str, ...]) -> None:
    monkeypatch.setattr(failure_state, "_PROGRAMS", commands)


def kept(bench: Bench) -> dict[str, str]:
    root = bench.recorder.directory / "failure-state"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.txt")}


def told(bench: Bench) -> dict[str, Any]:
    (fields,) = bench.recorder.of_kind("failure_state_kept")
    return fields


def test_every_node_leaves_every_table(bench: Bench) -> None:
    assert bench.fails(BROKEN).phase == "step"
    assert kept(bench) == {
        f"{node}/{name}.txt": text
        for node in ("client", "web")
        for name, text in [
            ("nftables", f"nftables of {node}\n"),
            ("processes", f"processes of {node}\n"),
            ("routes", "a route\n"),
        ]
    }
    assert told(bench) == {"path": "failure-state", "files": 6, "problems": ()}
    kinds = bench.recorder.kinds()
    assert kinds.index("step_failed") < kinds.index("failure_state_kept")


def test_it_is_the_state_while_programs_still_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, state=sh("[ -e running ] && echo still running"))
    server = Spawn(
        id="server", device="web", cmd=sh("trap 'rm running; exit' TERM; touch running; while :; do sleep 0.02; done")
    )
    bench.fails(server, Run(id="broken", device="web", cmd=sh("until [ -e running ]; do sleep 0.02; done; exit 3")))
    assert not (bench.directory / "running").exists()
    assert kept(bench)["web/state.txt"] == "still running\n"


def test_a_sim_that_passes_keeps_nothing(bench: Bench) -> None:
    bench.passes(Run(id="fine", device="web", cmd=sh("true")))
    assert kept(bench) == {}
    assert "failure_state_kept" not in bench.recorder.kinds()


def test_an_interrupted_sim_keeps_nothing(bench: Bench) -> None:
    async def interrupted() -> None:
        task = asyncio.create_task(bench.run_async(Wait(duration_s=60)))
        await asyncio.sleep(0)
        task.cancel()
        failure = await task
        assert failure is not None
        assert failure.phase == "interrupted"

    asyncio.run(interrupted())
    assert kept(bench) == {}


def test_results_that_are_no_numbers_are_failures_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionFailed("not a number")

    monkeypatch.setattr("patchbay_runner.executor.session.Session.collect_results", refuse)
    step = Run(id="late", device="web", cmd=sh("true"))
    failure = bench.run(step)
    assert failure is not None
    assert "web/routes.txt" in kept(bench)


def test_a_missing_program_is_replaced_by_a_dump_of_our_own(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, routes=("no-such-program",), counters=("no-such-program",))
    bench.network.refused = set()
    bench.fails(BROKEN)
    assert told(bench)["problems"] == ()
    assert '"RTA_TABLE"' in kept(bench)["web/routes.txt"]
    assert "# snmp\nIp: " in kept(bench)["web/counters.txt"]


def test_what_cannot_be_had_is_told_and_the_rest_is_kept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.network.refused = {("web", "nftables")}
    programs(monkeypatch, qdiscs=sh("echo half; echo no permission >&2; exit 2"), routes=sh("echo a route"))
    failure = bench.fails(BROKEN)
    assert failure.message == "broken exited with code 3"
    assert set(told(bench)["problems"]) == {
        "web/nftables.txt: web: no nftables here",
        "client/qdiscs.txt: sh exited with code 2: no permission",
        "web/qdiscs.txt: sh exited with code 2: no permission",
    }
    assert kept(bench)["web/qdiscs.txt"] == "half\nno permission\n"
    assert kept(bench)["web/routes.txt"] == "a route\n"
    assert "web/nftables.txt" not in kept(bench)


def test_programs_that_hang_end_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_state, "_PROGRAM_PATIENCE_S", 0.1)
    programs(monkeypatch, sockets=sh("echo one; sleep 60"), routes=sh("echo a route"))
    bench.fails(BROKEN)
    assert "web/sockets.txt: sh was not done within 0.1 s: one" in told(bench)["problems"]
    assert kept(bench)["web/routes.txt"] == "a route\n"
    assert bench.alive() == []


def test_all_of_it_ends_in_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_state, "_PATIENCE_S", 0.2)
    programs(monkeypatch, sockets=sh("sleep 60"))
    begun = time.monotonic()
    assert bench.fails(BROKEN).phase == "step"
    assert time.monotonic() - begun < 30
    assert told(bench)["problems"] == ("not everything was there within 0.2 s",)
    assert bench.alive() == []


def test_an_interruption_ends_it_and_the_failure_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(monkeypatch, sockets=sh("touch asked; sleep 60"))
    plan = msgspec.structs.replace(bench.plan(BROKEN), on_failure=(Run(id="dump", device="web", cmd=sh("true")),))

    async def interrupted() -> str:
        task = asyncio.create_task(run_plan(plan, bench.network, bench.recorder, bench.options()))
        while not (bench.directory / "asked").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        failure = await task
        assert failure is not None
        return failure.phase

    assert asyncio.run(interrupted()) == "step"
    assert told(bench)["problems"] == ("interrupted",)
    assert [each["id"] for each in bench.recorder.of_kind("step_started")] == ["broken"]
    assert bench.alive() == []


def test_what_is_too_long_is_cut(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure_state, "_MOST_BYTES", 10)
    bench.fails(BROKEN)
    assert kept(bench)["web/nftables.txt"] == "nftables o\n… cut: 16 bytes in all\n"
    assert kept(bench)["web/routes.txt"] == "a route\n"
