"""Counted devices: what becomes one step for each instance, and what a reference to such a step means."""

from __future__ import annotations

import pytest

from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.steps import Assert, GenFile, ProcessStep, SetLinkCondition
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

FETCH = '[[step]]\nid = "fetch"\ndevice = "peer"\ncmd = ["fetch"]\ncaptures.size.regex = "x"\n'
SPAWN = FETCH.replace("device", 'action = "spawn"\ndevice')


def processes(loading: Loading, text: str) -> list[ProcessStep]:
    return [step for step in loading.steps(text) if isinstance(step, ProcessStep)]


def test_devices_are_numbered_also_when_there_is_one(loading: Loading) -> None:
    plan = loading.plan("[sim]")
    names = [device.name for device in plan.topology.devices]
    assert names == ["server", "client", "peer-0", "peer-1", "peer-2", "solo-0"]


@pytest.mark.parametrize(("device", "count"), [("peer", 3), ("solo", 1)])
def test_a_step_of_the_base_name_becomes_one_for_each_instance(loading: Loading, device: str, count: int) -> None:
    steps = processes(loading, f'[[step]]\nid = "x"\ndevice = "{device}"\ncmd = ["a"]\n')
    assert [(step.id, step.device) for step in steps] == [(f"x-{i}", f"{device}-{i}") for i in range(count)]
    steps = processes(loading, f'[[step]]\ndevice = "{device}"\ncmd = ["a"]\n')
    assert [step.id for step in steps] == [f"{device}-{i}" for i in range(count)]


def test_a_step_may_name_an_instance(loading: Loading) -> None:
    (step,) = processes(loading, '[[step]]\ndevice = "peer-1"\ncmd = ["a"]\n')
    assert (step.id, step.device) == ("peer-1", "peer-1")


def test_other_actions_expand_as_well(loading: Loading) -> None:
    text = """
[[step]]
action = "set-impair"
device = "peer"
[[step]]
action = "gen-file"
id = "f"
device = "peer"
content = "x"
[[step]]
action = "gen-certs"
id = "c"
device = "peer"
"""
    steps = loading.steps(text)
    assert [step.device for step in steps if isinstance(step, SetLinkCondition)] == ["peer-0", "peer-1", "peer-2"]
    assert [step.id for step in steps if isinstance(step, GenFile)] == ["f-0", "f-1", "f-2"]
    assert [(step.id, step.device) for step in steps[6:]] == [(f"c-{i}", f"peer-{i}") for i in range(3)]  # type: ignore[union-attr]


def test_references_of_a_counted_step_mean_the_same_instance(loading: Loading) -> None:
    text = FETCH + (
        '[[step]]\nid = "use"\ndevice = "peer"\n'
        'cmd = ["a", "${fetch.size}", "${fetch-0.size}", "$${fetch.size}", "$HOME"]\n'
        'env = { SIZE = "${fetch.size}" }\nrequires = ["fetch.size"]\nresults = { up_bytes = "fetch.size" }\n'
    )
    step = processes(loading, text)[5]
    assert step.cmd == ("a", "${fetch-2.size}", "${fetch-0.size}", "$${fetch.size}", "$HOME")
    assert step.env == {"SIZE": "${fetch-2.size}"}
    assert step.requires == ("fetch-2.size",)
    assert step.results is not None
    assert step.results.up_bytes == "fetch-2.size"


def test_a_step_of_its_own_requires_and_asserts_all_instances(loading: Loading) -> None:
    text = FETCH + (
        '[[step]]\naction = "assert"\nrequires = ["fetch.size", "fetch-1.exit_code"]\n'
        'checks = ["fetch.size > 0", "fetch-1.size == 1"]\n'
    )
    step = loading.steps(text)[-1]
    assert isinstance(step, Assert)
    assert step.requires == ("fetch-0.size", "fetch-1.size", "fetch-2.size", "fetch-1.exit_code")
    assert step.checks == (
        *(Assertion(f"fetch-{i}.size", ">", "0") for i in range(3)),
        Assertion("fetch-1.size", "==", "1"),
    )


@pytest.mark.parametrize("name", ["fetch", "peer"])
def test_waiting_for_the_base_name_waits_for_all(loading: Loading, name: str) -> None:
    steps = loading.steps(
        SPAWN + f'[[step]]\naction = "wait-for"\nid = "{name}"\ntimeout = "2s"\nrequires = ["fetch.size"]\n'
    )
    assert [(step.id, step.timeout_s) for step in steps[3:]] == [(f"fetch-{i}", 2.0) for i in range(3)]
    assert steps[3].requires == ("fetch-0.size", "fetch-1.size", "fetch-2.size")


def test_waiting_for_a_device_means_the_spawns_so_far(loading: Loading) -> None:
    wait = '[[step]]\naction = "wait-for"\nid = "solo"\n'
    spawn = '[[step]]\naction = "spawn"\nid = "{}"\ndevice = "solo"\ncmd = ["a"]\n'
    steps = loading.steps(spawn.format("a") + wait + spawn.format("b") + wait)
    assert [step.id for step in steps] == ["a-0", "a-0", "b-0", "a-0", "b-0"]


def test_a_run_of_the_devices_name_does_not_hide_its_spawn(loading: Loading) -> None:
    steps = loading.steps(
        SPAWN + '[[step]]\ndevice = "peer"\ncmd = ["a"]\n[[step]]\naction = "wait-for"\nid = "peer"\n'
    )
    assert [step.id for step in steps[6:]] == ["fetch-0", "fetch-1", "fetch-2"]


def test_waiting_for_one_instance(loading: Loading) -> None:
    steps = loading.steps(SPAWN + '[[step]]\naction = "wait-for"\nid = "fetch-1"\n')
    assert [step.id for step in steps[3:]] == ["fetch-1"]


def test_what_is_ambiguous_names_the_choices(loading: Loading) -> None:
    for text in ('cmd = ["${fetch.size}"]', 'cmd = ["a"]\nresults = { up_bytes = "fetch.size" }'):
        (error,) = loading.errors(FETCH + f'[[step]]\ndevice = "client"\n{text}')
        assert '"fetch.size" is ambiguous' in error
    (error,) = loading.errors(FETCH + '[[step]]\naction = "assert"\ncheck = "fetch.size == ${fetch.size}"')
    assert '"fetch.size" is ambiguous' in error


def test_the_only_instance_needs_no_number(loading: Loading) -> None:
    text = """
[[step]]
id = "one"
device = "solo"
cmd = ["a"]
captures.x.regex = "x"
[[step]]
id = "own"
device = "client"
cmd = ["a", "${one.x}", "$${one.x}"]
env = { X = "${one.x}" }
results = { up_bytes = "one.x", down_bytes = "own.exit_code" }
[[step]]
action = "gen-file"
id = "f"
content = "${one.x} ${own.exit_code}"
[[step]]
id = "many"
device = "peer"
cmd = ["${one.x}"]
requires = ["one.x"]
[[step]]
id = "moved"
device = "${one.x}"
cmd = ["a"]
[[step]]
action = "assert"
check = "own.exit_code == ${one.exit_code}"
"""
    steps = loading.steps(text)
    _, own, file, *many, moved, check = steps
    assert isinstance(own, ProcessStep)
    assert (own.cmd, own.env) == (("a", "${one-0.x}", "$${one.x}"), {"X": "${one-0.x}"})
    assert own.results is not None
    assert (own.results.up_bytes, own.results.down_bytes) == ("one-0.x", "own.exit_code")
    assert isinstance(file, GenFile)
    assert file.content == "${one-0.x} ${own.exit_code}"
    assert [(step.cmd, step.requires) for step in many if isinstance(step, ProcessStep)] == [
        (("${one-0.x}",), ("one-0.x",))
    ] * 3
    assert isinstance(moved, ProcessStep)
    assert moved.device == "${one-0.x}"
    assert isinstance(check, Assert)
    assert check.checks == (Assertion("own.exit_code", "==", "${one-0.exit_code}"),)


def test_numbered_default_ids_do_not_meet_instances(loading: Loading) -> None:
    run = '[[step]]\ndevice = "peer"\ncmd = ["a"]\n'
    ids = [step.id for step in loading.steps(run + run + '[[step]]\ndevice = "peer-2"\ncmd = ["a"]\n')]
    assert ids == ["peer-0", "peer-1", "peer-2", "peer-3-0", "peer-3-1", "peer-3-2", "peer-2-2"]
    assert len(set(ids)) == len(ids)
