"""Good input, and the exact plans that it becomes; every plan written back as TOML loads to itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomli_w

from patchbay_runner.loader import Loaded, load
from patchbay_runner.loader.resolved import resolved_document
from patchbay_runner.model.plan import Plan, decode_plan, encode_plan
from patchbay_runner.model.steps import Step
from patchbay_runner.model.topology import Origin
from tests.golden.cases import Case, cases_in, compare

PLANS = Path(__file__).parent / "plans"
SIMS = Path(__file__).parents[2] / "sims"


def rendered(loaded: Loaded) -> str:
    """A line for each thing of a plan, so that a difference shows what changed."""
    lines = [f"warning: {warning}" for warning in loaded.warnings]
    for plan in loaded.plans:
        built = msgspec.to_builtins(plan)
        steps, on_failure = built.pop("steps", []), built.pop("on_failure", [])
        topology = built.pop("topology", {})
        lines += ["", json.dumps(built)]
        settings = topology.pop("lab", {})
        lines += [f"  lab {json.dumps(settings)}"] if settings else []
        lines += [f"  {kind[:-1]} {json.dumps(item)}" for kind, items in topology.items() for item in items]
        lines += [f"  {line}" for line in map(rendered_step, steps, plan.steps)]
        lines += [f"  on_failure {line}" for line in map(rendered_step, on_failure, plan.on_failure)]
    return "\n".join(lines) + "\n"


def rendered_step(step: dict[str, Any], plan_step: Step) -> str:
    return f"{step['action']} {json.dumps({**step, 'action': None, 'origin': None})} {plan_step.origin}"


def without_places(plan: Plan) -> Plan:
    """The plan without what tells where it was written."""
    topology = plan.topology
    bare = {"origin": Origin()}

    def replaced(items, **changes):  # type: ignore[no-untyped-def]
        return tuple(msgspec.structs.replace(item, **changes) for item in items)

    devices = tuple(
        msgspec.structs.replace(device, interfaces=replaced(device.interfaces, **bare), **bare)
        for device in topology.devices
    )
    return msgspec.structs.replace(
        plan,
        source="",
        topology_name=None,
        binaries=replaced(plan.binaries, **bare),
        prepare=replaced(plan.prepare, **bare),
        steps=replaced(plan.steps, **bare),
        on_failure=replaced(plan.on_failure, **bare),
        topology=msgspec.structs.replace(
            topology,
            routers=replaced(topology.routers, **bare),
            regions=replaced(topology.regions, **bare),
            devices=devices,
        ),
    )


@pytest.mark.parametrize("case", cases_in(PLANS), ids=lambda case: case.name)
def test_good_input_becomes_these_plans(case: Case, is_regenerating: bool) -> None:
    compare(rendered(load(case.inputs, cwd=case.cwd)), case.expected, is_regenerating=is_regenerating)


@pytest.mark.parametrize("case", [*cases_in(PLANS), Case("sims", SIMS.parent, ("sims",), PLANS)], ids=lambda c: c.name)
def test_a_resolved_plan_loads_to_itself(case: Case, tmp_path: Path) -> None:
    plans = load(case.inputs, cwd=case.cwd).plans
    assert plans
    for number, plan in enumerate(plans):
        path = tmp_path / f"{number}.toml"
        path.write_text(tomli_w.dumps(resolved_document(plan)))
        (again,) = load([path], cwd=tmp_path).plans
        assert without_places(again) == without_places(plan)


@pytest.mark.parametrize("case", cases_in(PLANS), ids=lambda case: case.name)
def test_a_plan_survives_json(case: Case) -> None:
    for plan in load(case.inputs, cwd=case.cwd).plans:
        assert decode_plan(encode_plan(plan)) == plan
