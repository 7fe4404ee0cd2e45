"""What runs inside a sandbox: a plan's network, then its steps."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec

from patchbay_runner.errors import HostError, KernelError, LabError
from patchbay_runner.executor import RunOptions, run_plan
from patchbay_runner.kernel.links import has_netem
from patchbay_runner.kernel.sandbox import SandboxContext
from patchbay_runner.kernel.sandbox.diagnosis import exhaustion
from patchbay_runner.lab.agent import Agent
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure
from patchbay_runner.results.files import Owner
from patchbay_runner.results.packetfiles import PacketFiles
from patchbay_runner.results.recorder import SandboxRecorder

ENTRY_NAME = "sim"
PROBE_NAME = "has-netem"
INTERRUPTED = Failure(phase="interrupted", message="interrupted")


class SimJob(msgspec.Struct, frozen=True, kw_only=True):
    """All that a sandbox is told. `directory` is the sim's; `binaries` maps names to absolute paths.

    `is_pausing` leaves a failed sim's network up until a `Resume`.
    """

    plan: Plan
    directory: str
    project_root: str
    binaries: dict[str, str]
    timeout_s: float | None
    owner: Owner | None
    is_pausing: bool = False


def probe_netem(_context: SandboxContext) -> int:
    """A sandbox's entry: ends with 1 when the kernel impairs links here, with 0 when that takes an emulator."""
    return int(has_netem())


class _Interrupted(BaseException):
    """SIGTERM arrived while the network was being built. No `except Exception` on the way may take it."""


def run_sim(context: SandboxContext) -> int:
    """The sandbox's entry. The verdict goes to the parent through the first descriptor.

    A second one, if there is one, is a listening socket for those who want to look inside.
    """
    job = msgspec.json.decode(context.payload, type=SimJob)
    recorder = SandboxRecorder(Path(job.directory), context.fds[0], job.owner)
    recorder.finished(_carry_out(job, recorder, context))
    return 0


def _carry_out(job: SimJob, recorder: SandboxRecorder, context: SandboxContext) -> Failure | None:
    directory, capture = Path(job.directory), job.plan.capture
    keeper = PacketFiles(directory, capture, job.owner) if capture else None
    options = LabOptions(recorder.emit, directory / "nodes", context.open_files, job.plan.seed, keeper)
    try:
        with _interruptible():
            lab = Lab.build(job.plan.topology, options)
        agent = Agent(program_environment(os.environ), options, lab)
        return asyncio.run(_run_steps(job, lab, agent, recorder, context))
    except _Interrupted:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a defect must reach the parent with its traceback, whatever it is
        return _failure(error)


def _failure(error: Exception) -> Failure:
    """Whose fault it is: the host's, the network's that was asked for, or ours."""
    limit = exhaustion(error) if isinstance(error, KernelError | OSError) else None
    match limit or error:
        case HostError() as refusal:
            return Failure(phase="host", message=str(refusal))
        case LabError():
            return Failure(phase="lab", message=str(error))
    return Failure(phase="internal", message=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())


async def _run_steps(
    job: SimJob, lab: Lab, agent: Agent, recorder: SandboxRecorder, context: SandboxContext
) -> Failure | None:
    """The steps, while the agent answers whoever else asks something of the lab."""
    options = RunOptions(
        project_root=Path(job.project_root),
        environment=agent.environment,
        binaries=job.binaries,
        timeout_s=job.timeout_s,
        keeps_failure_state=True,
        pause=agent.resumed.wait if job.is_pausing else None,
    )
    steps = asyncio.create_task(_begin_and_run(job.plan, lab, recorder, options))
    serving = [asyncio.create_task(agent.serve(context.control))]
    serving += [asyncio.create_task(agent.listen(socket.socket(fileno=fd))) for fd in context.fds[1:]]
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, steps.cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        return await steps
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        for task in serving:
            task.cancel()


async def _begin_and_run(plan: Plan, lab: Lab, recorder: SandboxRecorder, options: RunOptions) -> Failure | None:
    try:
        await lab.begin()
        return await run_plan(plan, lab, recorder, options)
    finally:
        lab.end_capture()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the block, which has nothing to clean up: the kernel takes the network with the sandbox.

    After the block it waits, blocked, until the next stage is ready for it.
    """

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise _Interrupted

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
