"""The workers that take part in a run: who may, what each of them has to do, and who is gone."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from patchbay_runner.cluster import orders, workplace
from patchbay_runner.cluster.dask import RESOURCE, Cluster, DaskWorker
from patchbay_runner.cluster.orders import PIECE_BYTES, Arrival, Command, Piece, Suitability
from patchbay_runner.cluster.project import Package, pieces
from patchbay_runner.errors import HostError
from patchbay_runner.model import company
from patchbay_runner.model.plan import Plan

_LOOK_S = 0.5
# When there are workers and none of them will do, others may still be on their way, but are not likely to be.
_UNSUITABLE_PATIENCE_S = 5.0
_LEAVE_S = 5.0
_PIECES_AT_ONCE = 4
_ADMITTED_AT_ONCE = 8


class Member:
    """A worker that can run labs."""

    def __init__(self, worker: DaskWorker, arrival: Arrival, *, has_netem: bool) -> None:
        self.worker = worker
        self.arrival = arrival
        self.has_netem = has_netem
        self.labs_taken = 0
        self.gone = asyncio.Event()

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.worker.name} on {self.arrival.host}"


class Seat(msgspec.Struct, frozen=True):
    """A sim's place: so many labs of a worker; all of them when it runs alone."""

    member: Member
    labs: int


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What every worker gets and needs before its first sim. `run` names the run on the workers."""

    run: str
    package: Package
    commands: tuple[Command, ...]


class _Wish:
    def __init__(self, plan: Plan, order: int, *, is_alone: bool) -> None:
        self.plan = plan
        self.order = order
        self.is_alone = is_alone
        self.seat: asyncio.Future[Seat | None] = asyncio.get_running_loop().create_future()


class Crew:
    """Admits workers as they come and seats sims on them. `tell` says to people what becomes of workers."""

    def __init__(self, cluster: Cluster, load: Load, patience_s: float, tell: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._load = load
        self._patience_s = patience_s
        self._tell = tell
        self._members: dict[str, Member] = {}
        self._admitting: dict[str, asyncio.Task[None]] = {}
        self._left_out: dict[str, str] = {}
        self._wishes: list[_Wish] = []
        self._is_closed = False
        self._error: Exception | None = None
        self._limit = asyncio.Semaphore(_ADMITTED_AT_ONCE)

    async def watch(self) -> None:
        """Follows who is there, for ever. What ends it is raised by `seat`."""
        someone_s = time.monotonic()
        try:
            while True:
                present = await self._cluster.workers()
                self._follow(present)
                if self._members or self._admitting:
                    someone_s = time.monotonic()
                patience_s = min(_UNSUITABLE_PATIENCE_S, self._patience_s) if present else self._patience_s
                if time.monotonic() - someone_s >= patience_s:
                    raise self._nobody()
                await asyncio.sleep(_LOOK_S)
        except Exception as error:  # noqa: BLE001 - those who wait would wait for ever: they raise it
            self._error = error
            for wish in self._wishes:
                if not wish.seat.done():
                    wish.seat.set_exception(error)

    async def seat(self, plan: Plan, order: int, *, is_alone: bool) -> Seat | None:
        """Waits for a place; those of lower `order` come first. None when no sim begins any more.

        Raises HostError when there is nobody to wait for.
        """
        if self._error:
            raise self._error
        if self._is_closed:
            return None
        wish = _Wish(plan, order, is_alone=is_alone)
        self._wishes.append(wish)
        self._match()
        try:
            return await wish.seat
        finally:
            self._wishes.remove(wish)

    def give_back(self, seat: Seat) -> None:
        """The sim has ended there."""
        seat.member.labs_taken -= seat.labs
        self._match()

    def begin_no_more(self) -> None:
        """Whoever waits gets no seat."""
        self._is_closed = True
        for wish in self._wishes:
            if not wish.seat.done():
                wish.seat.set_result(None)

    def lose(self, member: Member) -> None:
        """The worker's process has ended. Another at its address is a new worker."""
        member.gone.set()
        if self._members.get(member.worker.address) is member:
            del self._members[member.worker.address]

    def leave_out(self, worker: DaskWorker, reason: str) -> None:
        """The worker is there and gets nothing to do."""
        self._members.pop(worker.address, None)
        self._left_out[worker.address] = f"{worker.name}: {reason}"
        self._tell(f"worker {worker.name} is left out: {reason}")

    async def close(self) -> None:
        """Lets the workers forget the run."""
        for task in self._admitting.values():
            task.cancel()
        await asyncio.gather(*self._admitting.values(), return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                farewells = (self._cluster.call(address, workplace.leave, self._load.run) for address in self._members)
                await asyncio.gather(*farewells, return_exceptions=True)

    def _follow(self, present: dict[str, DaskWorker]) -> None:
        for address, member in tuple(self._members.items()):
            if address not in present:
                self.lose(member)
        for address in self._left_out.keys() - present.keys():
            del self._left_out[address]
        for address, worker in present.items():
            if not (address in self._members or address in self._admitting or address in self._left_out):
                task = self._admitting[address] = asyncio.create_task(self._admit(worker))
                task.add_done_callback(partial(self._seen, address))

    def _seen(self, address: str, _task: asyncio.Task[None]) -> None:
        del self._admitting[address]

    async def _admit(self, worker: DaskWorker) -> None:
        """Sees whether a worker can do the work, and hands it what it needs."""
        try:
            async with self._limit:
                member = await self._introduce(worker)
                if member:
                    await self._supply(member)
                    self._members[worker.address] = member
                    self._match()
        except OSError:
            return  # it is gone, or the next look finds it again
        except ModuleNotFoundError as error:
            self.leave_out(worker, f"it has no patchbay of this version: {error}")
        except HostError as error:
            self.leave_out(worker, str(error))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong on a worker must not end the run on the others
            self.leave_out(worker, f"{type(error).__name__}: {error}")

    async def _introduce(self, worker: DaskWorker) -> Member | None:
        """None when it cannot do the work, which has been told."""
        if not worker.labs:
            self.leave_out(worker, f"it offers no labs; start it with --resources {RESOURCE}=N")
            return None
        arrival: Arrival = await self._cluster.call(worker.address, workplace.arrive)
        if arrival.identity != orders.identity():
            self.leave_out(worker, f"it has patchbay {arrival.identity}, and this is {orders.identity()}")
            return None
        if self._load.package.places and arrival.machine != platform.machine():
            self.leave_out(worker, f"its processor is {arrival.machine}, and the binaries are for {platform.machine()}")
            return None
        found: Suitability = await self._cluster.call(worker.address, workplace.examine, self._load.commands)
        if found.problem:
            self.leave_out(worker, found.problem)
            return None
        return Member(worker, arrival, has_netem=found.has_netem)

    async def _supply(self, member: Member) -> None:
        """Sends the contents that the worker does not have, then lays them out."""
        address, package = member.worker.address, self._load.package
        wanted: list[str] = await self._cluster.call(address, workplace.missing, list(package.sources))
        batch: list[Piece] = []
        sent = 0
        for sha256 in wanted:
            for piece in pieces(sha256, package.sources[sha256]):
                batch.append(piece)
                sent += len(piece.data)
                if sum(len(each.data) for each in batch) >= _PIECES_AT_ONCE * PIECE_BYTES:
                    await self._cluster.call(address, workplace.take, self._load.run, batch)
                    batch = []
        if batch:
            await self._cluster.call(address, workplace.take, self._load.run, batch)
        await self._cluster.call(address, workplace.build, self._load.run, package.project, package.programs)
        files = f"{len(wanted)} of {len(package.sources)} files"
        self._tell(f"worker {member.title}: labs={member.worker.labs}, sent {files}, {sent / 1e6:.1f} MB")

    def _match(self) -> None:
        """Seats whoever can be. Those that run alone wait until nobody who takes company could sit there."""
        waiting = sorted((wish for wish in self._wishes if not wish.seat.done()), key=lambda wish: wish.order)
        for alone in (False, True):
            for wish in waiting:
                if not wish.seat.done() and (seat := self._find(wish, alone=alone)):
                    seat.member.labs_taken += seat.labs
                    wish.seat.set_result(seat)

    def _find(self, wish: _Wish, *, alone: bool) -> Seat | None:
        """On the worker with the least to do."""
        found = []
        for member in self._members.values():
            is_alone = wish.is_alone or company.is_alone(wish.plan, is_emulated=not member.has_netem)
            labs = member.worker.labs if is_alone else 1
            if is_alone is alone and member.labs_taken + labs <= member.worker.labs:
                found.append(Seat(member, labs))
        return min(found, key=lambda seat: seat.member.labs_taken / seat.member.worker.labs, default=None)

    def _nobody(self) -> HostError:
        remedy = f"dask worker {self._cluster.address} --resources {RESOURCE}=N"
        if not self._left_out:
            return HostError(f"no worker of {self._cluster.address} came within {self._patience_s:g} s", remedy)
        reasons: Sequence[str] = sorted(set(self._left_out.values()))
        return HostError("\n  ".join([f"no worker of {self._cluster.address} can run the sims", *reasons]), remedy)
