"""Runs the sims of one command: a sandbox each, several at once, with the terminal and the documents kept current."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from patchbay_runner.cli.queueing import SimQueue
from patchbay_runner.cli.sandboxed import ENTRY_NAME, PROBE_NAME, SimJob
from patchbay_runner.cli.supervision import Interruption, Supervisor, make_pipe
from patchbay_runner.errors import SandboxDied
from patchbay_runner.kernel.sandbox import Sandbox, SandboxOptions, Zygote
from patchbay_runner.model import company
from patchbay_runner.model.recording import Failure
from patchbay_runner.results import reports
from patchbay_runner.results.documents import Status
from patchbay_runner.results.run import RunDirectory
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.jsonlines import JsonLines
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


class Scheduler:
    """Takes the sims of a run directory from pending to their verdicts."""

    def __init__(
        self,
        zygote: Zygote,
        directory: RunDirectory,
        jobs: Sequence[SimJob],
        interruption: Interruption,
        pace: Pace,
        *,
        is_verbose: bool = False,
        json_lines: JsonLines | None = None,
    ) -> None:
        self._zygote = zygote
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
            if self._terminal:
                self._terminal.close()
        if self._terminal:
            self._terminal.show_summary(self._directory.path, time.monotonic() - started_s)
        is_interrupted = self._directory.was_interrupted = self._interruption.count > 0
        return exit_code(self._directory.sims, is_interrupted=is_interrupted)

    async def _run_sims(self) -> None:
        """Returns, or raises the first sim's error, when no sim runs any more."""
        queue = SimQueue(self._alone(), self._pace.jobs)
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
        finally:
            await _end_all(running)
        if errors:
            raise errors[0]

    def _alone(self) -> list[bool]:
        """Which sims run alone. What impairs links here is asked only where something depends on it."""
        plans = [job.plan for job in self._jobs]
        is_emulated = False
        if self._pace.jobs > 1 and any(map(company.depends_on_engine, plans)):
            with self._zygote.sandbox(PROBE_NAME) as probe:
                ended = probe.wait()
            if ended.error:
                raise ended.error
            is_emulated = not ended.status
        return [company.is_alone(plan, is_emulated=is_emulated) for plan in plans]

    async def _run_sim(self, index: int) -> None:
        sim = self._directory.sims[index]
        sim.start()
        try:
            await self._run_in_sandbox(sim, self._jobs[index])
        except SandboxDied as error:  # the zygote is gone; each sim says so
            sim.end(Failure(phase="internal", message=str(error)))
        self._open_terminal().view.ended(sim)

    async def _run_in_sandbox(self, sim: SimRecord, job: SimJob) -> None:
        reader, writer = make_pipe()
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, reader)
            sandbox = self._start(job, writer)
            stack.callback(sandbox.close)
            await asyncio.sleep(
                0
            )  # the others that begin now are started first: what comes next is slow the first time
            view = self._open_terminal().view
            view.started(sim)
            supervisor = Supervisor(sandbox, reader, sim, self._interruption, job.timeout_s)
            await supervisor.watch(lambda events: view.happened(sim, events))

    def _start(self, job: SimJob, writer: int) -> Sandbox:
        """Starts the sandbox, which takes the pipe's writing end over. Raises SandboxDied when the zygote is gone."""
        options = SandboxOptions(user=job.plan.user)
        try:
            return self._zygote.sandbox(ENTRY_NAME, msgspec.json.encode(job), [writer], options)
        finally:
            os.close(writer)

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
