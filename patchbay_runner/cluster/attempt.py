"""One sim on one worker, followed from home."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from patchbay_runner.cluster import workplace
from patchbay_runner.cluster.crew import Seat
from patchbay_runner.cluster.dask import Cluster
from patchbay_runner.cluster.delivery import Delivery
from patchbay_runner.cluster.mailbox import Abandoned
from patchbay_runner.cluster.orders import Batch, Frame, Order
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.files import Owner
from patchbay_runner.results.messages import Event, Finished
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from distributed import Future

_AGAIN_S = 0.5
# A worker that was asked to end a sim at once, and does not answer, is not waited for any longer.
_LAST_S = 10.0


class Ended(msgspec.Struct, frozen=True):
    """It ran to its end. `failure` counts when it gave no verdict of its own."""

    failure: Failure | None = None


class Lost(msgspec.Struct, frozen=True):
    """The worker has died, or could not reach home for long. `had_begun` says whether the sim ran by then."""

    had_begun: bool


class Refused(msgspec.Struct, frozen=True):
    """No sandbox can be made on the worker."""

    problem: str


class Stopped(msgspec.Struct, frozen=True):
    """Nobody waits for it any more."""


Outcome = Ended | Lost | Refused | Stopped


class Attempt:
    """Feeds the record with what the worker sends. `on_began` and `on_events` are told how it goes."""

    def __init__(
        self,
        cluster: Cluster,
        seat: Seat,
        order: Order,
        sim: SimRecord,
        owner: Owner | None,
        *,
        on_began: Callable[[], None],
        on_events: Callable[[list[Event]], None],
    ) -> None:
        self._cluster = cluster
        self._seat = seat
        self._order = order
        self._sim = sim
        self._on_began = on_began
        self._on_events = on_events
        self._delivery = Delivery(sim.directory, owner)
        self._has_begun = False
        self._outcome: Outcome = Ended()
        self._stops: list[asyncio.Task[None]] = []
        self._given_up = asyncio.Event()

    async def run(self) -> Outcome:
        """Returns how it ended; the sim's files are home by then. Raises HostError when the scheduler is gone."""
        future = self._cluster.submit(self._seat.member.worker, self._seat.labs, self._order)
        try:
            return await self._follow(future)
        finally:
            self._delivery.discard()
            if not future.done():
                with suppress(OSError, TimeoutError):
                    await self._cluster.cancel(future)
            future.release()

    def stop(self, *, at_once: bool) -> None:
        """Asks the worker to end the sim. One that has not begun there does not begin."""
        while len(self._stops) < (2 if at_once else 1):
            self._stops.append(asyncio.create_task(self._ask_to_stop()))
        if at_once:
            asyncio.get_running_loop().call_later(_LAST_S, self._given_up.set)

    async def _ask_to_stop(self) -> None:
        with suppress(OSError):  # a worker that is gone has stopped
            await self._cluster.call(self._seat.member.worker.address, workplace.stop, self._order.key)
        if not self._has_begun:
            self._given_up.set()

    async def _follow(self, future: Future[None]) -> Outcome:
        confirmed = 0
        while True:
            batch = await self._collect(confirmed)
            if batch is None:
                return Stopped() if self._given_up.is_set() else Lost(self._has_begun)
            confirmed = batch.number
            for frame in batch.frames:
                if frame.kind == "end":
                    return await self._unpack()
                self._take(frame)
            if not batch.frames and future.status == "error":
                return await self._judge(future)

    async def _unpack(self) -> Outcome:
        try:
            await asyncio.to_thread(self._delivery.unpack)
        except ValueError as error:
            verdict = Finished(Failure(phase="internal", message=str(error)))  # the last one counts
            self._sim.feed(msgspec.json.encode(verdict) + b"\n")
        return self._outcome

    async def _collect(self, confirmed: int) -> Batch | None:
        """The next batch; None when the worker is gone, or nobody waits any more."""
        address = self._seat.member.worker.address
        while True:
            call = asyncio.create_task(self._cluster.call(address, workplace.collect, self._order.key, confirmed))
            ends = [asyncio.create_task(event.wait()) for event in (self._seat.member.gone, self._given_up)]
            try:
                await asyncio.wait([call, *ends], return_when=asyncio.FIRST_COMPLETED)
                if not call.done():
                    return None
                batch: Batch = call.result()
            except (OSError, KeyError):  # Dask says both of a worker that it does not know any more
                await asyncio.sleep(_AGAIN_S)
                if address not in await self._cluster.workers():
                    return None
            else:
                return batch
            finally:
                for task in (call, *ends):
                    task.cancel()
                await asyncio.gather(call, *ends, return_exceptions=True)

    def _take(self, frame: Frame) -> None:
        match frame.kind:
            case "began":
                self._has_begun = True
                self._on_began()
            case "messages":
                self._on_events(self._sim.feed(frame.data))
            case "files":
                self._delivery.add(frame.data)
            case "refused":
                told = msgspec.json.decode(frame.data, type=dict[str, str])
                self._outcome = Refused("; ".join(filter(None, told.values())))
            case "broken":
                message, _, rest = frame.data.decode(errors="replace").partition("\n")
                self._outcome = Ended(Failure(phase="internal", message=message, traceback=rest))

    async def _judge(self, future: Future[None]) -> Outcome:
        """Why a task failed that said nothing of an end."""
        error = await future.exception()
        if isinstance(error, workplace.Replaced | Abandoned):
            return Lost(self._has_begun)
        return Ended(Failure(phase="internal", message=f"its worker failed: {type(error).__name__}: {error}"))
