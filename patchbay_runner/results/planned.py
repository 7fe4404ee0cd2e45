"""A sim's plan as its directory keeps it: enough to see what was going to happen, and nothing that may be secret."""

from __future__ import annotations

from patchbay_runner.model.plan import Plan
from patchbay_runner.model.steps import ProcessStep, Step, action_of
from patchbay_runner.model.steptext import summary_of
from patchbay_runner.results.documents import PlanDocument, PlannedStep


def plan_document(plan: Plan) -> PlanDocument:
    """plan.json: the steps in order, those of `on_failure` behind the others."""
    ordinary = [_planned(index, step, on_failure=False) for index, step in enumerate(plan.steps)]
    late = [_planned(index, step, on_failure=True) for index, step in enumerate(plan.on_failure)]
    return PlanDocument(sim=plan.name, steps=(*ordinary, *late))


def _planned(index: int, step: Step, *, on_failure: bool) -> PlannedStep:
    return PlannedStep(
        index=index,
        on_failure=on_failure,
        action=action_of(step),
        id=step.id or None,
        device=getattr(step, "device", None) or None,
        origin=str(step.origin) or None,
        text=summary_of(step),
        cmd=step.cmd if isinstance(step, ProcessStep) else None,
    )
