"""One step, from its beginning to its end."""

from __future__ import annotations

import time
from typing import Any

from patchbay_runner.errors import LabError, StepError
from patchbay_runner.executor.actions import ACTIONS
from patchbay_runner.executor.session import Session
from patchbay_runner.model.steps import Step, action_of


async def carry_out(session: Session, position: int, step: Step, **more: Any) -> None:
    """Carries a step out and tells when it begins and ends, with `more` beside. Raises StepError and LabError."""
    session.recorder.emit("step_started", **describe(position, step), **more)
    started_s = time.monotonic()
    resolver = session.resolver(step)
    for key in step.requires:
        await resolver.capture(key)
    await ACTIONS[type(step)](session, step, resolver)
    await session.network.settled()
    session.reporter.report()
    duration_s = round(time.monotonic() - started_s, 6)
    fields = {"step": position, "id": step.id, "status": "passed", "duration_s": duration_s}
    session.recorder.emit("step_finished", **fields, **more)


def tell_failure(session: Session, description: dict[str, Any], error: StepError | LabError, **more: Any) -> None:
    """Tells that a described step failed, beside the failure that ends the sim."""
    output = error.output if isinstance(error, StepError) else ()
    session.recorder.emit("step_failed", **description, phase="step", message=str(error), output=output, **more)


def describe(position: int, step: Step) -> dict[str, Any]:
    """What events and failures say of a step."""
    device = getattr(step, "device", None) or ""
    return {
        "step": position,
        "action": action_of(step),
        "id": step.id,
        "device": device,
        "origin": str(step.origin),
    }
