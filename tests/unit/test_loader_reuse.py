"""Templates, groups, the matrix, extends: what is merged with what, and what wins."""

from __future__ import annotations

import pytest

from patchbay_runner.model.steps import Capture, GenCerts, ProcessStep, ResultKeys, Spawn
from tests.unit.loading import NETWORK, Loading, loading

__all__ = ["loading"]

TEMPLATE = """
[[step-template]]
name = "t"
action = "spawn"
id = "own"
device = "client"
timeout = "1s"
parser = "ndjson"
cmd = ["tool", "--fixed"]
args = ["--own"]
requires = ["first.exit_code"]
env = { A = "template", B = "template" }
captures.size = { pick = ".size" }
captures.kind = { pick = ".kind" }
results = { up_bytes = ".size", duration = ".kind" }
[[step]]
id = "first"
device = "client"
cmd = ["first"]
[[step]]
use = "t"
"""
GROUP = """
[[step-group]]
name = "g"
[[step-group.step]]
id = "${group.name}"
device = "${group.device}"
cmd = ["tool", "${group.name}${group.name}", "${${group.name}-x.y}", "$${group.name}"]
when = "${group.on}"
"""


def used(loading: Loading, call: str) -> ProcessStep:
    *_, step = loading.steps(TEMPLATE + call)
    assert isinstance(step, ProcessStep)
    return step


def test_a_template_is_a_whole_step(loading: Loading) -> None:
    step = used(loading, "")
    assert isinstance(step, Spawn)
    assert (step.id, step.device, step.timeout_s, step.cmd) == ("own", "client", 1.0, ("tool", "--fixed", "--own"))
    assert step.results == ResultKeys(up_bytes="own.size", duration="own.kind")


def test_scalars_of_the_call_replace(loading: Loading) -> None:
    step = used(loading, 'action = "run"\nid = "x"\ndevice = "server"\ntimeout = "2s"\nparser = "json"\ncwd = "d"')
    assert (type(step).__name__, step.id, step.device, step.timeout_s, step.parser, step.cwd) == (
        "Run", "x", "server", 2.0, "json", "d",
    )  # fmt: skip
    assert step.results == ResultKeys(up_bytes="x.size", duration="x.kind")


def test_args_append_to_the_command(loading: Loading) -> None:
    assert used(loading, 'args = ["--call"]').cmd == ("tool", "--fixed", "--own", "--call")


def test_env_and_captures_merge_and_the_call_wins(loading: Loading) -> None:
    step = used(
        loading, 'env = { B = "call", C = "call" }\ncaptures.kind = { pick = ".other" }\ncaptures.new.regex = "x"'
    )
    assert step.env == {"A": "template", "B": "call", "C": "call"}
    assert step.captures == (
        Capture(name="size", pick=".size"),
        Capture(name="kind", pick=".other"),
        Capture(name="new", regex="x"),
    )


def test_requires_append_and_results_replace(loading: Loading) -> None:
    step = used(loading, 'requires = ["first.elapsed_s"]\nresults = { down_bytes = ".size" }')
    assert step.requires == ("first.exit_code", "first.elapsed_s")
    assert step.results == ResultKeys(down_bytes="own.size")


def test_other_arrays_are_replaced(loading: Loading) -> None:
    template = '[[step-template]]\nname = "t"\naction = "gen-certs"\nsan = ["a"]\n'
    step = loading.step(f'use = "t"\nid = "c"\nsan = ["b"]\n{template}')
    assert isinstance(step, GenCerts)
    assert step.san == ("b",)


def test_a_template_without_a_command_takes_the_calls(loading: Loading) -> None:
    step = loading.step('use = "t"\ncmd = ["call"]\n[[step-template]]\nname = "t"\ndevice = "client"\nargs = ["own"]')
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("call", "own")


def test_aliases_meet_their_names_in_a_merge(loading: Loading) -> None:
    template = '[[step-template]]\nname = "t"\nkind = "set-impair"\ndevice = "client"\nimpair = "wifi"\n'
    step = loading.step(f'use = "t"\ncondition = "lan"\n{template}')
    assert type(step).__name__ == "SetLinkCondition"
    assert step.condition.is_clear  # type: ignore[union-attr]


def test_a_groups_variables_stand_in_any_string(loading: Loading) -> None:
    other = '[[step]]\nid = "a-x"\ndevice = "client"\ncmd = ["a"]\ncaptures.y.regex = "y"\n'
    _, step = loading.steps(GROUP + other + '[[step]]\nuse = "g"\nvars = { name = "a", device = "client", on = true }')
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("tool", "aa", "${a-x.y}", "$${group.name}")
    assert step.origin.line == 4


@pytest.mark.parametrize("when", ['on = "false"', "on = false", 'on = "true" }\nwhen = "false"\n#'])
def test_a_group_is_skipped_by_its_own_guard_or_the_calls(loading: Loading, when: str) -> None:
    assert loading.steps(GROUP + f'[[step]]\nuse = "g"\nvars = {{ name = "a", device = "client", {when} }}') == ()


def test_a_template_may_use_the_variables_of_the_group_that_uses_it(loading: Loading) -> None:
    step = loading.step(
        'use = "g"\nvars = { x = "1" }\n[[step-group]]\nname = "g"\n'
        '[[step-group.step]]\nuse = "t"\nargs = ["${group.x}"]\n'
        '[[step-template]]\nname = "t"\ndevice = "client"\ncmd = ["a", "${group.x}"]'
    )
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("a", "1", "1")


def test_a_variable_may_choose_the_template(loading: Loading) -> None:
    text = (
        '[[step-group]]\nname = "g"\n[[step-group.step]]\nuse = "${group.kind}-t"\ndevice = "client"\n'
        '[[step-template]]\nname = "a-t"\ncmd = ["a", "${group.only_a}"]\n'
        '[[step-template]]\nname = "b-t"\ncmd = ["b"]\n'
    )
    step = loading.step(f'use = "g"\nvars = {{ kind = "a", only_a = 1 }}\n{text}')
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("a", "1")
    assert isinstance(loading.step(f'use = "g"\nvars = {{ kind = "b" }}\n{text}'), ProcessStep)
    assert len(loading.errors(f'[[step]]\nuse = "g"\nvars = {{ kind = "a" }}\n{text}')) == 1


def test_variables_of_a_template_alone_are_the_groups(loading: Loading) -> None:
    text = (
        'use = "g"\nvars = { x = "1" }\n[[step-group]]\nname = "g"\n[[step-group.step]]\nuse = "t"\n'
        '[[step-template]]\nname = "t"\ndevice = "client"\ncmd = ["a", "${group.x}"]\n'
    )
    step = loading.step(text)
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("a", "1")
    (error,) = loading.errors("[[step]]\n" + text.replace('{ x = "1" }', "{}"))
    assert error == 'step[0].vars: the group "g" needs the variable "x"'


def test_a_call_that_is_left_out_needs_no_variables(loading: Loading) -> None:
    assert loading.steps(GROUP + '[[step]]\nuse = "g"\nwhen = "false"') == ()


MATRIX = (
    '[matrix]\na = ["x", "y"]\nb = [1, 2]\n[sim]\nname = "{}"\n[[step]]\ndevice = "client"\ncmd = ["${{matrix.a}}"]\n'
)


def test_the_last_axis_turns_fastest(loading: Loading) -> None:
    plans = loading.plans(MATRIX.format("s-${matrix.a}${matrix.b}"))
    assert [plan.name for plan in plans] == ["s-x1", "s-x2", "s-y1", "s-y2"]
    assert [plan.matrix for plan in plans] == [{"a": a, "b": b} for a in "xy" for b in (1, 2)]


def test_variants_of_one_name_get_their_values_appended(loading: Loading) -> None:
    assert [plan.name for plan in loading.plans(MATRIX.format("s"))] == ["s-x-1", "s-x-2", "s-y-1", "s-y-2"]
    names = [plan.name for plan in loading.plans('[matrix]\na = ["b-c", "b"]\nd = ["e", "c-e"]\n[sim]\nname = "s"')]
    assert names == ["s-b-c-e", "s-b-c-c-e", "s-b-e", "s-b-c-e-2"]


def test_without_axes_there_is_one_variant(loading: Loading) -> None:
    assert loading.plan("[matrix]\n[sim]\nname = 's'").name == "s"


def test_a_sim_without_a_name_is_called_like_its_file(loading: Loading) -> None:
    assert loading.plan("[sim]").name == "sim"


def test_matrix_values_reach_everything(loading: Loading) -> None:
    text = """
[matrix]
n = [2]
t = ["t"]
[sim]
user = "${matrix.user}"
[matrix.params.t]
t = { user = "root", device = "peer", mode = "home", tool = "x" }
[[binary]]
name = "b"
path = "${matrix.tool}"
[[step-template]]
name = "t"
device = "${matrix.device}"
cmd = ["${binary.b}", "${matrix.n}"]
[[step]]
use = "${matrix.t}"
timeout = "${matrix.n}s"
[[router]]
name = "dc"
nat = "${matrix.mode}"
[device.peer]
count = "${matrix.n}"
[device.peer.eth0]
gateway = "dc"
"""
    plan = loading.plan(text, network="")
    assert (plan.user, plan.binaries[0].path, plan.topology.routers[0].nat.mode) == ("root", "x", "home")
    assert [(step.device, step.cmd[1], step.timeout_s) for step in plan.steps if isinstance(step, ProcessStep)] == [
        ("peer-0", "2", 2.0),
        ("peer-1", "2", 2.0),
    ]


def test_variants_share_what_does_not_depend_on_their_values(loading: Loading) -> None:
    first, second, *_ = loading.plans(MATRIX.format("s") + '[[step]]\naction = "wait"\nduration = "1s"')
    assert first.steps[1] is second.steps[1]
    assert first.steps[0] is second.steps[0]
    assert first.topology is second.topology


def test_own_definitions_win_over_extended_ones_and_later_files_over_earlier(loading: Loading) -> None:
    definition = '[[step-template]]\nname = "{}"\ndevice = "client"\ncmd = ["{}"]\n'
    loading.write("a.toml", "".join(definition.format(name, "a") for name in ("own", "later", "first")))
    loading.write("b.toml", "".join(definition.format(name, "b") for name in ("own", "later")))
    text = '[[extends]]\nfile = "a.toml"\n[[extends]]\nfile = "b.toml"\n' + definition.format("own", "sim")
    steps = loading.steps(text + "".join(f'[[step]]\nuse = "{name}"\n' for name in ("own", "later", "first")))
    assert [step.cmd for step in steps if isinstance(step, ProcessStep)] == [("sim",), ("b",), ("a",)]


def test_an_own_group_wins_over_an_extended_template_of_its_name(loading: Loading) -> None:
    loading.write("a.toml", '[[step-template]]\nname = "x"\ndevice = "client"\ncmd = ["a"]\n')
    group = '[[step-group]]\nname = "x"\n[[step-group.step]]\naction = "wait"\nduration = "1s"\n'
    step = loading.step(f'use = "x"\n[[extends]]\nfile = "a.toml"\n{group}')
    assert type(step).__name__ == "Wait"


def test_extends_is_looked_for_beside_the_file_above_it_and_in_the_working_directory(loading: Loading) -> None:
    loading.write("lib/here.toml", '[[extends]]\nfile = "sibling.toml"\n')
    loading.write("lib/sibling.toml", '[[step-template]]\nname = "t"\ndevice = "client"\ncmd = ["sibling"]\n')
    step = loading.step('use = "t"\n[[extends]]\nfile = "lib/here.toml"\n')
    assert isinstance(step, ProcessStep)
    assert step.cmd == ("sibling",)


def test_a_file_that_two_files_extend_prepares_once(loading: Loading) -> None:
    loading.write("base.toml", '[[prepare]]\nbins = ["x"]\n')
    for name in ("a", "b"):
        loading.write(f"{name}.toml", '[[extends]]\nfile = "base.toml"\n')
    plan = loading.plan('[sim]\n[[extends]]\nfile = "a.toml"\n[[extends]]\nfile = "b.toml"\n')
    assert [entry.bins for entry in plan.prepare] == [("x",)]


@pytest.mark.parametrize("own", ['[sim]\ntopology = "named"\n', NETWORK])
def test_an_own_topology_replaces_an_extended_one(loading: Loading, own: str) -> None:
    loading.write("topos/named.toml", NETWORK)
    loading.write("base.toml", '[[router]]\nname = "extended"\n')
    plan = loading.plan(
        f'[[extends]]\nfile = "base.toml"\n{own}\n[[step]]\naction = "wait"\nduration = "0s"', network=""
    )
    assert [router.name for router in plan.topology.routers] == ["dc"]
    plan = loading.plan('[sim]\n[[extends]]\nfile = "base.toml"\n', network="")
    assert [router.name for router in plan.topology.routers] == ["extended"]


@pytest.mark.parametrize("directory", ["sims/topos", "topos", "elsewhere/topos"])
def test_a_topology_is_looked_for_in_three_places(loading: Loading, directory: str) -> None:
    from patchbay_runner.loader import load

    loading.write(f"{directory}/net.toml", NETWORK)
    sim = loading.write("sims/sim.toml", '[sim]\ntopology = "net"\n')
    (plan,) = load([sim], cwd=loading.directory / "elsewhere" if "else" in directory else loading.directory).plans
    assert plan.topology_name == "net"
    assert plan.topology.routers[0].name == "dc"
