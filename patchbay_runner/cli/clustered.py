"""`patchbay run --cluster`: sims on the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.binaries.commands import needed_commands
from patchbay_runner.cli.sandboxed import INTERRUPTED, SimJob
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.cluster.attempt import Attempt, Ended, Lost, Outcome, Refused, Stopped
from patchbay_runner.cluster.crew import Crew, Load, Member, Seat
from patchbay_runner.cluster.dask import Cluster
from patchbay_runner.cluster.orders import Command, Order
from patchbay_runner.cluster.project import pack
from patchbay_runner.errors import HostError
from patchbay_runner.model.plan import Plan, encode_plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.documents import Status
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.progress import View

# A sim that was lost with two workers, the second time as the only one there, is at fault.
_MOST_LOSSES = 2


def pack_load(
    plans: Sequence[Plan], project_root: Path, binaries: Sequence[Mapping[str, str]], work_dir: Path, copies: Path
) -> Load:
    """What the workers need. Raises InputError for a project that is too large, HostError when it cannot be read."""
    return Load(
        run=secrets.token_hex(8),
        package=pack(project_root, binaries, [work_dir], copies),
        commands=tuple({Command(*key): None for key in needed_commands(plans).values()}),
    )


class Workers:
    """A place for sims: the workers of a cluster. Connects when the first sim comes."""

    def __init__(self, address: str, load: Load, patience_s: float, interruption: Interruption) -> None:
        self._load = load
        self._patience_s = patience_s
        self._interruption = interruption
        self._cluster = Cluster(address)
        self._crew: asyncio.Task[Crew] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._sims = 0

    def alone(self, plans: Sequence[Plan], jobs: int) -> list[bool]:
        """None: which sims run alone on a worker is decided when they are seated there."""
        del jobs
        return [False] * len(plans)

    async def run(self, sim: SimRecord, job: SimJob, view: Callable[[], View]) -> None:
        """Runs a sim, again when its worker is lost. Raises HostError when there is no worker for it."""
        number, self._sims = self._sims, self._sims + 1
        crew = await self._open(view)
        try:
            if crew:
                await self._run_somewhere(crew, number, sim, job, view())
        except HostError as error:
            if sim.state.status is Status.RUNNING:
                sim.end(Failure(phase="host", message=str(error)))
            raise
        if sim.state.status is Status.RUNNING:  # its worker was lost, and none is looked for any more
            sim.end(INTERRUPTED)

    def begin_no_more(self) -> None:
        """Sims that wait for a worker stay pending."""
        if self._crew and self._crew.done() and not self._crew.exception():
            self._crew.result().begin_no_more()

    async def close(self) -> None:
        """Lets the workers forget the run, and disconnects."""
        if self._watching:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._crew:
            (crew,) = await asyncio.gather(self._crew, return_exceptions=True)
            if isinstance(crew, Crew):
                await crew.close()
                await self._cluster.close()

    async def _open(self, view: Callable[[], View]) -> Crew | None:
        """The crew, the same for every sim; None when the user stops the run before there is a connection."""
        if self._crew is None:
            self._crew = asyncio.create_task(self._connect(view))
        stopping = asyncio.Event()
        unsubscribe = self._interruption.subscribe(stopping.set)
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([self._crew, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            unsubscribe()
            stop.cancel()
        return await self._crew if self._crew.done() else None

    async def _connect(self, view: Callable[[], View]) -> Crew:
        await self._cluster.open()
        crew = Crew(self._cluster, self._load, self._patience_s, lambda text: view().note(text))
        self._interruption.subscribe(crew.begin_no_more)
        if self._interruption.is_stopping:
            crew.begin_no_more()
        self._watching = asyncio.create_task(crew.watch())
        return crew

    async def _run_somewhere(self, crew: Crew, number: int, sim: SimRecord, job: SimJob, view: View) -> None:
        losses: list[str] = []
        attempts = itertools.count(1)
        while seat := await crew.seat(job.plan, number, is_alone=bool(losses)):
            order = self._order(f"{number}-{next(attempts)}", job, seat.member)
            try:
                outcome = await self._attempt(seat, order, sim, job, view)
            finally:
                crew.give_back(seat)
            match outcome:
                case Lost(had_begun=had_begun):
                    crew.lose(seat.member)
                    losses += [seat.member.title] if had_begun else []
                case Refused(problem=problem):
                    crew.leave_out(seat.member.worker, problem)
                case Stopped() if sim.state.status is Status.PENDING:
                    return
                case Ended() | Stopped():
                    if sim.state.status is Status.PENDING:  # its worker failed before it began
                        sim.start()
                    sim.end(_failure(outcome, is_stopping=self._interruption.is_stopping))
                    return
            _tell_loss(sim, seat.member, outcome, view)
            if len(losses) == _MOST_LOSSES:
                sim.end(Failure(phase="worker", message=f"its worker died both times: {', then '.join(losses)}"))
                return

    async def _attempt(self, seat: Seat, order: Order, sim: SimRecord, job: SimJob, view: View) -> Outcome:
        def begin() -> None:
            if sim.state.status is Status.PENDING:
                sim.start()
                view.started(sim)
            sim.state.is_displaced = False
            where = {"worker": seat.member.worker.address, "name": seat.member.worker.name}
            view.happened(sim, [sim.note("worker_assigned", **where, host=seat.member.arrival.host)])

        attempt = Attempt(
            self._cluster,
            seat,
            order,
            sim,
            job.owner,
            on_began=begin,
            on_events=lambda events: view.happened(sim, events),
        )

        def stop() -> None:
            attempt.stop(at_once=self._interruption.count > 1)

        unsubscribe = self._interruption.subscribe(stop)
        try:
            if self._interruption.is_stopping:
                stop()
            return await attempt.run()
        finally:
            unsubscribe()

    def _order(self, key: str, job: SimJob, member: Member) -> Order:
        return Order(
            run=self._load.run,
            key=f"{self._load.run}-{key}",
            incarnation=member.arrival.incarnation,
            plan=encode_plan(job.plan),
            binaries={name: self._load.package.places[path] for name, path in job.binaries.items()},
            timeout_s=job.timeout_s,
        )


def _tell_loss(sim: SimRecord, member: Member, outcome: Lost | Refused, view: View) -> None:
    """Says that a sim lost its worker. One that had begun begins again."""
    if sim.state.status is not Status.RUNNING:
        return
    reason = f"it cannot run labs: {outcome.problem}" if isinstance(outcome, Refused) else "it is gone"
    view.note(f"{sim.state.plan.title} lost its worker {member.title}: {reason}")
    fields = {"worker": member.worker.address, "name": member.worker.name, "host": member.arrival.host}
    view.happened(sim, [sim.begin_again("worker_lost", **fields, reason=reason)])


def _failure(outcome: Ended | Stopped, *, is_stopping: bool) -> Failure:
    """Why a sim ended that gave no verdict."""
    if is_stopping:
        return INTERRUPTED
    unknown = Failure(phase="internal", message="its worker sent no verdict")
    return (outcome.failure if isinstance(outcome, Ended) else None) or unknown
