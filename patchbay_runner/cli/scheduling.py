"""Runs the sims of one command, several at once, with the terminal and the documents kept current."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from patchbay_runner.cli.queueing import SimQueue
from patchbay_runner.cli.sandboxed import SimJob
from patchbay_runner.cli.supervision import Interruption
from patchbay_runner.model.plan import Plan
from patchbay_runner.results import reports
from patchbay_runner.results.documents import Status
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.jsonlines import JsonLines
    from patchbay_runner.cli.progress import View
    from patchbay_runner.cli.terminal import Terminal

_TICK_S = 0.1
_EXIT_FAILED = 1
_EXIT_OVERLOADED = 5
_EXIT_INTERRUPTED = 130
# A phase that is not the sim's own fault ends in the code of whose fault it is; the larger code wins.
_PHASE_CODES = {"internal": 3, "host": 4}


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How many sims run at once, and whether none begins any more once one has failed."""

    jobs: int = 1
    is_failing_fast: bool = False


class Place(Protocol):
    """Where sims run: here in sandboxes, or elsewhere."""

    def alone(self, plans: Sequence[Plan], jobs: int) -> list[bool]:
        """Which of the sims the scheduler must not begin beside others, when it may run `jobs` at once."""

    async def run(self, sim: SimRecord, job: SimJob, view: Callable[[], View]) -> None:
        """Takes a sim from pending to its verdict, telling the view how it begins and goes on, not that it ended.

        It stays pending when it cannot begin any more. Raises HostError when no sim can run here.
        """

    def begin_no_more(self) -> None:
        """Sims that wait here for their beginning stay pending."""

    async def close(self) -> None:
        """No sim comes any more."""


class Scheduler:
    """Takes the sims of a run directory from pending to their verdicts."""

    def __init__(
        self,
        place: Place,
        directory: RunDirectory,
        jobs: Sequence[SimJob],
        interruption: Interruption,
        pace: Pace,
        *,
        is_verbose: bool = False,
        json_lines: JsonLines | None = None,
    ) -> None:
        self._place = place
        self._directory = directory
        self._jobs = jobs
        self._pace = pace
        self._is_verbose = is_verbose
        self._json_lines = json_lines
        self._interruption = interruption
        self._terminal: Terminal | None = None

    async def run(self) -> int:
        """Runs everything, shows the summary and returns the exit code.

        Raises HostError when no sandbox can be made here.
        """
        started_s = time.monotonic()
        self._interruption.listen_to_signals()
        self._interruption.subscribe(self._acknowledge)
        if self._interruption.count:
            self._open_terminal()
        try:
            await _with_background(self._run_sims(), self._keep_current())
        finally:
            await self._place.close()
            if self._terminal:
                self._terminal.close()
        if self._terminal:
            self._terminal.show_summary(self._directory.path, time.monotonic() - started_s)
        is_interrupted = self._directory.was_interrupted = self._interruption.count > 0
        return exit_code(self._directory.sims, is_interrupted=is_interrupted)

    async def _run_sims(self) -> None:
        """Returns, or raises the first sim's error, when no sim runs any more."""
        queue = SimQueue(self._place.alone([job.plan for job in self._jobs], self._pace.jobs), self._pace.jobs)
        running: dict[asyncio.Task[None], int] = {}
        errors: list[BaseException] = []
        try:
            while True:
                while not self._interruption.is_stopping and (index := queue.take()) is not None:
                    running[asyncio.create_task(self._run_sim(index))] = index
                if not running:
                    break
                ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    index = running.pop(task)
                    queue.give_back(index)
                    if error := task.exception():
                        errors.append(error)
                        self._interruption.halt()
                    if self._pace.is_failing_fast and self._directory.sims[index].state.status is Status.ERROR:
                        queue.clear()
                        self._place.begin_no_more()
        finally:
            await _end_all(running)
        if errors:
            raise errors[0]

    async def _run_sim(self, index: int) -> None:
        sim = self._directory.sims[index]
        await self._place.run(sim, self._jobs[index], lambda: self._open_terminal().view)
        if sim.state.status is not Status.PENDING:
            self._open_terminal().view.ended(sim)

    def _open_terminal(self) -> Terminal:
        """Everything slow to import that only the parent needs, loaded while the first network is being built."""
        if self._terminal is None:
            from patchbay_runner.cli.terminal import Terminal  # noqa: PLC0415

            self._terminal = Terminal(self._directory.sims, is_verbose=self._is_verbose, json_lines=self._json_lines)
            reports.load_templates()
        return self._terminal

    def _acknowledge(self) -> None:
        if self._terminal and self._interruption.count == 1:
            self._terminal.view.stopping()

    async def _keep_current(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            if self._terminal:
                self._terminal.view.tick()
            self._directory.write_if_due()


async def _with_background(work: Coroutine[Any, Any, None], background: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end and `background` as long. An error in either ends both."""
    tasks = [asyncio.create_task(work), asyncio.create_task(background)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end_all(tasks)


async def _end_all(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancels what still runs; returns when it has ended."""
    tasks = tuple(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def exit_code(sims: Sequence[SimRecord], *, is_interrupted: bool) -> int:
    """0 when all sims passed; else why not."""
    return code_of_phases({sim.state.failure.phase for sim in sims if sim.state.failure}, is_interrupted=is_interrupted)


def code_of_phases(phases: set[str], *, is_interrupted: bool) -> int:
    """The exit code of sims that failed in these phases; 0 when none did."""
    if is_interrupted:
        return _EXIT_INTERRUPTED
    codes = [_PHASE_CODES.get(phase, _EXIT_FAILED) for phase in phases - {"overloaded"}]
    return max(codes, default=_EXIT_OVERLOADED if phases else 0)
