"""Who of a cluster's workers gets which sim, with workers that only answer in the place of real ones."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from patchbay_runner.cluster import orders, workplace
from patchbay_runner.cluster.crew import Crew, Load, Seat
from patchbay_runner.cluster.dask import Cluster, DaskWorker
from patchbay_runner.cluster.mailbox import LIMIT_BYTES, Abandoned, Mailbox
from patchbay_runner.cluster.orders import PIECE_BYTES, Arrival, Suitability
from patchbay_runner.cluster.project import Package
from patchbay_runner.errors import HostError
from tests.unit.results_support import plan

GONE = OSError("gone")


class FakeCluster:
    """Its workers answer what `answers` says; an exception in it is raised."""

    address = "tcp://head:8786"

    def __init__(self, **labs: int) -> None:
        self.present = {name: DaskWorker(name, name, "host", number, "/none") for name, number in labs.items()}
        self.answers: dict[tuple[str, str], Any] = {}
        self.calls: list[tuple[str, str]] = []

    async def workers(self) -> dict[str, DaskWorker]:
        return dict(self.present)

    async def call(self, worker: str, function: Callable[..., Any], *_arguments: Any) -> Any:
        self.calls.append((worker, function.__name__))
        arrival = Arrival(
            identity=orders.identity(), incarnation="1", host="host", machine=platform.machine(), python="3"
        )
        usual: dict[str, Any] = {"arrive": arrival, "examine": Suitability(has_netem=True), "missing": []}
        answer = self.answers.get((worker, function.__name__), usual.get(function.__name__))
        if isinstance(answer, Exception):
            raise answer
        return answer


def with_crew(
    cluster: FakeCluster, use: Callable[[Crew], Awaitable[None]], patience_s: float = 60.0, places: bool = False
) -> list[str]:
    """Runs `use` while the crew watches; returns what was told."""
    told: list[str] = []

    async def run() -> None:
        package = Package(project=(), programs=(), sources={}, places={"/a": "b"} if places else {})
        crew = Crew(cast("Cluster", cluster), Load(run="r", package=package, commands=()), patience_s, told.append)
        watching = asyncio.create_task(crew.watch())
        try:
            async with asyncio.timeout(20):
                await use(crew)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await crew.close()

    asyncio.run(run())
    return told


async def seated(crew: Crew, order: int, *, is_alone: bool = False, exclusive: bool | None = None) -> Seat:
    seat = await crew.seat(plan("sim", exclusive=exclusive), order, is_alone=is_alone)
    assert seat
    return seat


def test_sims_spread_over_workers_and_wait_when_all_are_full() -> None:
    cluster = FakeCluster(a=1, b=2)

    async def use(crew: Crew) -> None:
        seats = [await seated(crew, number) for number in range(3)]
        assert sorted(seat.member.worker.name for seat in seats) == ["a", "b", "b"]
        waiting = asyncio.create_task(seated(crew, 3))
        await asyncio.sleep(0)
        assert not waiting.done()
        crew.give_back(seats[0])
        assert (await waiting).member is seats[0].member

    with_crew(cluster, use)


def test_a_sim_that_runs_alone_takes_all_labs_of_a_worker_after_those_that_take_company() -> None:
    cluster = FakeCluster(a=2)

    async def use(crew: Crew) -> None:
        first = await seated(crew, 0)
        alone = asyncio.create_task(seated(crew, 1, exclusive=True))
        await asyncio.sleep(0)
        last = await seated(crew, 2)
        assert not alone.done()
        crew.give_back(first)
        crew.give_back(last)
        assert (await alone).labs == 2
        suspect = asyncio.create_task(seated(crew, 3, is_alone=True))
        await asyncio.sleep(0)
        assert not suspect.done()
        crew.give_back(alone.result())
        assert (await suspect).labs == 2

    with_crew(cluster, use)


def test_workers_may_come_later_and_go() -> None:
    cluster = FakeCluster()

    async def use(crew: Crew) -> None:
        waiting = asyncio.create_task(seated(crew, 0))
        await asyncio.sleep(0)
        cluster.present["late"] = DaskWorker("late", "late", "host", 1, "/none")
        seat = await waiting
        del cluster.present["late"]
        await seat.member.gone.wait()

    with_crew(cluster, use)


def test_who_cannot_do_it_is_left_out_with_the_reason() -> None:
    cluster = FakeCluster(none=0, old=1, arm=1, sick=1, odd=1, empty=1, good=1)
    arrival = Arrival(identity="0.0.1 (f00)", incarnation="1", host="h", machine=platform.machine(), python="3")
    cluster.answers["old", "arrive"] = arrival
    other = Arrival(identity=orders.identity(), incarnation="1", host="h", machine="pdp11", python="3")
    cluster.answers["arm", "arrive"] = other
    cluster.answers["sick", "examine"] = Suitability(problem="no namespaces here")
    cluster.answers["odd", "build"] = RuntimeError("disk on fire")
    cluster.answers["empty", "arrive"] = ModuleNotFoundError("No module named 'patchbay_runner'")

    async def use(crew: Crew) -> None:
        assert (await seated(crew, 0)).member.worker.name == "good"
        while ("odd", "build") not in cluster.calls:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)

    told = "\n".join(with_crew(cluster, use, places=True))
    assert "worker none is left out: it offers no labs; start it with --resources labs=N" in told
    assert "worker old is left out: it has patchbay 0.0.1 (f00), and this is" in told
    assert "worker arm is left out: its processor is pdp11, and the binaries are for" in told
    assert "worker sick is left out: no namespaces here" in told
    assert "worker odd is left out: RuntimeError: disk on fire" in told
    assert "worker empty is left out: it has no patchbay" in told


def test_nobody_to_wait_for_ends_the_waiting_with_every_reason() -> None:
    cluster = FakeCluster(a=0, b=0)

    async def use(crew: Crew) -> None:
        with pytest.raises(HostError, match=r"(?s)no worker of tcp://head:8786 can run the sims.*a: it .*b: it "):
            await crew.seat(plan("sim"), 0, is_alone=False)
        with pytest.raises(HostError):
            await crew.seat(plan("sim"), 1, is_alone=False)

    with_crew(cluster, use, patience_s=0.1)


def test_who_waits_when_the_run_stops_gets_no_seat() -> None:
    async def use(crew: Crew) -> None:
        waiting = asyncio.create_task(crew.seat(plan("sim"), 0, is_alone=False))
        await asyncio.sleep(0)
        crew.begin_no_more()
        assert await waiting is None
        assert await crew.seat(plan("sim"), 1, is_alone=False) is None

    with_crew(FakeCluster(), use)


def test_a_worker_that_does_not_answer_is_asked_again() -> None:
    cluster = FakeCluster(a=1)
    cluster.answers["a", "arrive"] = GONE

    async def use(crew: Crew) -> None:
        waiting = asyncio.create_task(seated(crew, 0))
        while ("a", "arrive") not in cluster.calls:
            await asyncio.sleep(0.01)
        cluster.answers.clear()
        assert (await waiting).member.worker.name == "a"

    assert len(with_crew(cluster, use)) == 1


def test_a_mailbox_gives_a_batch_again_until_it_is_confirmed() -> None:
    async def use() -> None:
        box = Mailbox()
        box.put("messages", b"one")
        first = await box.collect(0, 5)
        box.put("messages", b"two")
        assert await box.collect(0, 5) == first
        second = await box.collect(first.number, 5)
        assert [frame.data for batch in (first, second) for frame in batch.frames] == [b"one", b"two"]
        assert (await box.collect(second.number, 0.01)).frames == ()

    asyncio.run(use())


def test_two_calls_at_once_lose_nothing() -> None:
    async def use() -> None:
        box = Mailbox()
        calls = [asyncio.create_task(box.collect(0, 0.2)) for _ in range(2)]
        await asyncio.sleep(0)
        box.put("messages", b"one")
        answers = await asyncio.gather(*calls)
        assert answers[0] == answers[1]
        assert [frame.data for frame in answers[0].frames] == [b"one"]

    asyncio.run(use())


def test_who_fills_a_mailbox_waits_for_room_and_gives_up_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        box = Mailbox()
        for _ in range(LIMIT_BYTES // PIECE_BYTES):
            box.put("files", bytes(PIECE_BYTES))
        filling = asyncio.create_task(asyncio.to_thread(box.put, "files", b"last"))
        number = 0
        received = b""
        while b"last" not in received:
            batch = await box.collect(number, 5)
            number = batch.number
            received = b"".join(frame.data for frame in batch.frames)[-4:]
        await filling

    asyncio.run(use())
    monkeypatch.setattr("patchbay_runner.cluster.mailbox.ABANDONED_S", -1.0)
    full = Mailbox()
    full.put("files", bytes(LIMIT_BYTES))
    with pytest.raises(Abandoned):
        full.put("files", b"x")


def test_an_order_for_a_worker_that_was_here_before_is_refused(tmp_path: Path) -> None:
    order = orders.Order(run="r", key="r-1", incarnation="another", plan=b"{}", binaries={}, timeout_s=None)
    with pytest.raises(workplace.Replaced):
        workplace.carry_out(order, str(tmp_path))


def test_the_identity_tells_the_version_and_the_code() -> None:
    assert orders.identity() == orders.identity()
    assert "(" in orders.identity()
