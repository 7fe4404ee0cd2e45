"""Which sims run beside others: what a busy host would make wrong runs alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import ProcessStep


def measures(plan: Plan) -> bool:
    """Whether it measures how much gets through: it reports bytes, or limits a rate."""
    steps = (step for step in plan.steps if isinstance(step, ProcessStep))
    has_bytes = any(step.results and (step.results.up_bytes or step.results.down_bytes) for step in steps)
    return has_bytes or any(condition.rate_kbit for condition in _conditions(plan))


def impairs(plan: Plan) -> bool:
    """Whether any of its links is impaired, from the start or by a step."""
    return any(not condition.is_clear for condition in _conditions(plan))


def depends_on_engine(plan: Plan) -> bool:
    """Whether `is_alone` depends on what impairs links here."""
    return plan.exclusive is None and not measures(plan) and impairs(plan)


def is_alone(plan: Plan, *, is_emulated: bool) -> bool:
    """Whether it runs while no other does: as it says itself, else when its figures would suffer from company.

    Links that are impaired by an emulator are among these: a process has to wake in time for each of their frames.
    """
    if plan.exclusive is not None:
        return plan.exclusive
    return measures(plan) or (is_emulated and impairs(plan))


def _conditions(plan: Plan) -> Iterator[LinkCondition]:
    yield from _within((plan.topology, plan.steps))


def _within(value: Any) -> Iterator[LinkCondition]:
    """Every condition below a record, wherever a step or a node may hold one."""
    if isinstance(value, LinkCondition):
        yield value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _within(getattr(value, name))
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _within(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _within(each)
