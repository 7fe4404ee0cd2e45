"""Runs sims on this machine, a sandbox each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING

import msgspec

from patchbay_runner.cli.labs import own_directory, record_of
from patchbay_runner.cli.pausing import PAUSING_EVENTS, Pauses, Waiting
from patchbay_runner.cli.sandboxed import ENTRY_NAME, PROBE_NAME, SimJob
from patchbay_runner.cli.supervision import Interruption, Supervisor, make_pipe
from patchbay_runner.errors import HostError, SandboxDied
from patchbay_runner.kernel.sandbox import Sandbox, SandboxOptions, Zygote
from patchbay_runner.lab.registry import Registration, register
from patchbay_runner.model import company
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.messages import Event
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.progress import View


class Sandboxes:
    """A place for sims: sandboxes that a zygote forks."""

    def __init__(self, zygote: Zygote, interruption: Interruption) -> None:
        self._zygote = zygote
        self._interruption = interruption
        self._pauses = Pauses(interruption)

    def alone(self, plans: Sequence[Plan], jobs: int) -> list[bool]:
        """Which sims run alone. What impairs links here is asked only where something depends on it."""
        is_emulated = False
        if jobs > 1 and any(map(company.depends_on_engine, plans)):
            is_emulated = not probe_engine(self._zygote)
        return [company.is_alone(plan, is_emulated=is_emulated) for plan in plans]

    async def run(self, sim: SimRecord, job: SimJob, view: Callable[[], View]) -> None:
        """Runs a sim to its end. Raises HostError when no sandbox can be made here."""
        sim.start()
        try:
            await self._run_in_sandbox(sim, job, view)
        except SandboxDied as error:  # the zygote is gone; each sim says so
            sim.end(Failure(phase="internal", message=str(error)))

    def begin_no_more(self) -> None:
        """Nothing waits here: the scheduler counts how many sims run."""

    async def close(self) -> None:
        """The zygote is the caller's."""

    async def _run_in_sandbox(self, sim: SimRecord, job: SimJob, view: Callable[[], View]) -> None:
        reader, writer = make_pipe()
        with ExitStack() as stack:
            stack.callback(os.close, reader)
            registration = stack.enter_context(_listed(job))
            sandbox = start_sandbox(self._zygote, job, writer, registration)
            stack.callback(sandbox.close)
            # The others that begin now are started first: what comes next is slow the first time.
            await asyncio.sleep(0)
            seen = view()
            seen.started(sim)
            supervisor = Supervisor(sandbox, reader, sim, self._interruption, job.timeout_s)

            def happened(events: list[Event]) -> None:
                seen.happened(sim, events)
                for event in events:
                    if registration is not None and event.kind in PAUSING_EVENTS:
                        waiting = Waiting(sim, registration, sandbox, supervisor)
                        self._pauses.follow(event, waiting, seen)

            if registration is not None:
                stack.callback(self._pauses.end, registration.record.id)
            await supervisor.watch(happened)


def start_sandbox(zygote: Zygote, job: SimJob, writer: int, registration: Registration | None = None) -> Sandbox:
    """Starts the sandbox, which takes the pipe's writing end over, and the registration's listener.

    Raises SandboxDied when the zygote is gone.
    """
    options = SandboxOptions(user=job.plan.user)
    listeners = [registration.listener.fileno()] if registration is not None else []
    try:
        return zygote.sandbox(ENTRY_NAME, msgspec.json.encode(job), [writer, *listeners], options)
    finally:
        os.close(writer)
        if registration is not None:
            registration.drop_listener()


def _listed(job: SimJob) -> AbstractContextManager[Registration | None]:
    """Lets other shells find the sim; where they cannot, it runs as well, unless it is to wait for them."""
    try:
        return register(own_directory(), record_of(job.plan, "run"))
    except HostError:
        if job.is_pausing:
            raise
        return nullcontext()


def probe_engine(zygote: Zygote) -> bool:
    """Whether the kernel impairs links here. Raises HostError when no sandbox can be made."""
    with zygote.sandbox(PROBE_NAME) as probe:
        ended = probe.wait()
    if ended.error:
        raise ended.error
    return bool(ended.status)
