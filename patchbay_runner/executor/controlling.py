"""`signal`, `stop` and `restart`: what is done to spawned programs."""

from __future__ import annotations

from patchbay_runner.errors import StepError
from patchbay_runner.executor.ending import stop_process
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.process import Process
from patchbay_runner.executor.processes import conclude, spawn, spawned
from patchbay_runner.executor.session import Session
from patchbay_runner.model.signals import signal_name
from patchbay_runner.model.steps import Restart, Signal, Spawn, Stop


async def signal_(session: Session, step: Signal, resolver: Resolver) -> None:
    """Sends a signal to a program that runs."""
    process = spawned(session, step.id)
    if process.exit_code is not None:
        raise process.ended(" already")
    if step.group:
        process.signal_group(step.signal)
    else:
        process.signal_program(step.signal)
    _tell(session, process, step.signal)


async def stop(session: Session, step: Stop, resolver: Resolver) -> None:
    """Ends a program; one that has ended by itself is judged as `wait-for` does."""
    process = spawned(session, step.id)
    await _end(session, process, step.signal, step.grace_s)
    conclude(session, process, step.expect_exit)


async def restart(session: Session, step: Restart, resolver: Resolver) -> None:
    """Ends a program, if it has not ended already, and spawns it anew, its references filled in anew."""
    process = spawned(session, step.id)
    await _end(session, process, step.signal, step.grace_s)
    process.close()
    assert isinstance(process.step, Spawn)
    await spawn(session, process.step, resolver if step.timeout_s is not None else session.resolver(process.step))


async def _end(session: Session, process: Process, signum: int, grace_s: float) -> None:
    if not process.group_is_alive():
        await process.finished.wait()
        return
    process.is_stopped = process.exit_code is None
    _tell(session, process, signum)
    if not await stop_process(process, signum, grace_s):
        raise StepError(f"{process.step.id} could not be killed: the kernel holds it", process.last_lines())
    await process.finished.wait()


def _tell(session: Session, process: Process, signum: int) -> None:
    session.recorder.emit("process_signalled", id=process.step.id, device=process.device, signal=signal_name(signum))
