"""The steps of `on_failure`: what is still looked at in a sim that has failed, while its programs run."""

from __future__ import annotations

import asyncio

from patchbay_runner.errors import LabError, StepError
from patchbay_runner.executor.blocks import blocks
from patchbay_runner.executor.session import Session
from patchbay_runner.executor.stepping import carry_out, describe, tell_failure
from patchbay_runner.model.plan import ON_FAILURE_LATE_S, ON_FAILURE_S
from patchbay_runner.model.recording import Failure
from patchbay_runner.model.steps import Step


async def carry_out_on_failure(session: Session, failure: Failure) -> bool:
    """Carries out all of them; one that fails is told, and keeps neither the others nor the sim's end from coming.

    They share the time: each may take an even part of what those before it left. A cancellation ends them: False.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + _patience_s(session, failure)
    steps = session.plan.on_failure
    try:
        for block in blocks(steps):
            share_s = max(0.0, deadline_s - loop.time()) * len(block) / (len(steps) - block[0])
            await asyncio.gather(*[_attempt(session, position, steps[position], share_s) for position in block])
    except asyncio.CancelledError:
        accept_cancellation()
        return False
    return True


def accept_cancellation() -> None:
    """Tells asyncio that the cancellation ends here, so that time limits work in what follows."""
    task = asyncio.current_task()
    assert task is not None
    while task.cancelling():
        task.uncancel()


def _patience_s(session: Session, failure: Failure) -> float:
    """Little where somebody waits for the end: the user, or the time of the sim, which is over or will soon be."""
    if failure.phase in ("timeout", "interrupted"):
        return ON_FAILURE_LATE_S
    left_s = session.deadline_s - asyncio.get_running_loop().time()
    return min(ON_FAILURE_S, max(left_s, ON_FAILURE_LATE_S))


async def _attempt(session: Session, position: int, step: Step, patience_s: float) -> None:
    try:
        async with asyncio.timeout(patience_s) as limit:
            await carry_out(session, position, step, on_failure=True)
    except TimeoutError:
        if not limit.expired():
            raise
        late = StepError(f"not done within {patience_s:.1f} s")
        tell_failure(session, describe(position, step), late, on_failure=True)
    except (StepError, LabError) as error:
        tell_failure(session, describe(position, step), error, on_failure=True)
