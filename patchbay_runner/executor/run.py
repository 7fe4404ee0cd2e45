"""From a plan to its end: the steps in order, then the end of everything they started."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from patchbay_runner.errors import LabError, StepError
from patchbay_runner.executor.blocks import blocks, carry_out_block
from patchbay_runner.executor.ending import end_processes
from patchbay_runner.executor.failure_state import keep_failure_state
from patchbay_runner.executor.network import Network
from patchbay_runner.executor.on_failure import accept_cancellation, carry_out_on_failure
from patchbay_runner.executor.pausing import pause
from patchbay_runner.executor.session import RunOptions, Session
from patchbay_runner.executor.stepping import describe
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.recording import Failure, Recorder


async def run_plan(plan: Plan, network: Network, recorder: Recorder, options: RunOptions) -> Failure | None:
    """Carries out the plan's steps in order and ends what they started; returns why the sim failed, None if it passed.

    Cancelling the task ends the sim cleanly, with phase "interrupted"; cancelling it again while programs are given
    time to end kills them at once. An exception other than StepError and LabError is a defect (EmulatorDied is
    one): it is raised after the same clean end, and `recorder.finished` is then the caller's to call.
    """
    session = Session(plan, network, recorder, options)
    with _watching_callbacks(session):
        try:
            failure = await _steps(session)
            if failure is not None and await _look_at(session, failure):
                await pause(session, failure)
        finally:
            await end_processes(session.processes.values(), options.grace_s)
            session.stop_ticking()
        failure = _closed(session, was := failure)
        if was is None and failure is not None:
            await keep_failure_state(session, failure)
    failure = _judged(session, failure)
    recorder.finished(failure)
    return failure


async def _look_at(session: Session, failure: Failure) -> bool:
    """What is kept and done before anything ends. False when the user wants the end."""
    return await keep_failure_state(session, failure) and await carry_out_on_failure(session, failure)


async def _steps(session: Session) -> Failure | None:
    timeout_s = session.options.timeout_s
    try:
        async with asyncio.timeout(timeout_s) as limit:
            session.start_ticking()
            for block in blocks(session.plan.steps):
                await carry_out_block(session, block)
    except TimeoutError:
        if not limit.expired():
            raise
        return _failed(session, "timeout", f"the sim did not end within {timeout_s:g} s", may_be_lateness=True)
    except asyncio.CancelledError:
        accept_cancellation()
        if session.defect is None:
            return _failed(session, "interrupted", "interrupted")
        return _failed_by(session, session.defect)
    except (StepError, LabError) as error:
        return _failed_by(session, error)
    return None


def _failed_by(session: Session, error: BaseException) -> Failure:
    if not isinstance(error, StepError | LabError):
        raise error
    if isinstance(error, LabError):
        return _failed(session, "step", str(error), ())
    return _failed(session, "step", str(error), error.output, may_be_lateness=error.may_be_lateness)


def _failed(
    session: Session,
    phase: str,
    message: str,
    output: tuple[str, ...] | None = None,
    *,
    may_be_lateness: bool = False,
) -> Failure:
    """The failure of the current step; without `output` it shows what the step's own program printed last."""
    if not session.plan.steps:
        return Failure(phase=phase, message=message)
    step = session.plan.steps[session.position]
    if output is None:
        process = session.processes.get(step.id)
        output = process.last_lines() if process else ()
    description = describe(session.position, step)
    session.recorder.emit("step_failed", **description, phase=phase, message=message, output=output)
    return Failure(phase=phase, message=message, output=output, may_be_lateness=may_be_lateness, **description)


def _closed(session: Session, failure: Failure | None) -> Failure | None:
    """Reads the last output and collects the last results; the first failure counts."""
    try:
        session.close()
        for process in session.processes.values():
            session.collect_results(process.step)
    except StepError as error:
        session.position = next(at for at, step in enumerate(session.plan.steps) if step is process.step)
        failure = failure or _failed_by(session, error)
    if failure is None and session.defect is not None:
        failure = _failed_by(session, session.defect)
    return failure


def _judged(session: Session, failure: Failure | None) -> Failure | None:
    """On a network that was not true a sim has not passed, nor has it failed by what that may have caused."""
    try:
        session.network_reporter.report(is_last=True)
        overload = session.network.verdict()
    except LabError as error:
        return failure or Failure(phase="lab", message=str(error))
    if overload is None or (failure is not None and not failure.may_be_lateness):
        return failure
    if failure is None:
        return Failure(phase="overloaded", message=overload)
    message = f"{overload}\nso nothing is said by this: {failure.message}"
    return msgspec.structs.replace(failure, phase="overloaded", message=message)


@contextmanager
def _watching_callbacks(session: Session) -> Iterator[None]:
    """Ends the sim when a callback of the loop (reading a pipe, reaping a program) raises, which nobody else sees."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def stop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if session.defect is None:
            session.defect = context.get("exception") or RuntimeError(context["message"])
            task.cancel()

    outer = loop.get_exception_handler()
    loop.set_exception_handler(stop)
    try:
        yield
    finally:
        loop.set_exception_handler(outer)
