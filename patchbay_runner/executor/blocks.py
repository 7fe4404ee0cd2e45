"""Steps that are carried out at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from itertools import groupby
from typing import Any

from patchbay_runner.errors import LabError, StepError
from patchbay_runner.executor.session import Session
from patchbay_runner.executor.stepping import carry_out, describe, tell_failure
from patchbay_runner.model.steps import Run, Step, action_of


def blocks(steps: Sequence[Step]) -> Iterator[range]:
    """The positions of steps that belong together; most stand alone."""

    def block_of(position: int) -> str | int:
        step = steps[position]
        return (isinstance(step, Run) and step.parallel) or position

    for _, positions in groupby(range(len(steps)), block_of):
        found = list(positions)
        yield range(found[0], found[-1] + 1)


async def carry_out_block(session: Session, positions: range) -> None:
    """Carries out the steps at these positions of the plan, at the same time.

    Every one of them comes to its end. Raises the StepError or LabError of the first that failed, which tells of the
    others; `session.position` is that step's then, and before, one that has not ended.
    """
    session.position = positions[0]
    if len(positions) == 1:
        await carry_out(session, positions[0], session.plan.steps[positions[0]])
        return
    errors: dict[int, StepError | LabError] = {}
    running = set(positions)

    async def attempt(position: int) -> None:
        try:
            await carry_out(session, position, session.plan.steps[position])
        except (StepError, LabError) as error:
            errors[position] = error
        running.discard(position)
        session.position = min(running, default=position)

    await _together([attempt(position) for position in positions])
    if errors:
        first, *others = sorted(errors)
        session.position = first
        for position in others:
            tell_failure(session, describe(position, session.plan.steps[position]), errors[position])
        raise _joined(session, errors, first, others)


async def _together(attempts: list[Coroutine[Any, Any, None]]) -> None:
    """A defect in one ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            for attempt in attempts:
                group.create_task(attempt)
    except BaseExceptionGroup as defects:
        raise defects.exceptions[0] from None


def _joined(
    session: Session, errors: dict[int, StepError | LabError], first: int, others: list[int]
) -> StepError | LabError:
    error = errors[first]
    if not others:
        return error
    lines = [f"{error}", "beside it failed:"]
    for position in others:
        step = session.plan.steps[position]
        lines.append(f"  step {position + 1} ({action_of(step)} {step.id}): {errors[position]}")
    may_be_lateness = all(isinstance(error, StepError) and error.may_be_lateness for error in errors.values())
    output = error.output if isinstance(error, StepError) else ()
    return StepError("\n".join(lines), output, may_be_lateness=may_be_lateness)
