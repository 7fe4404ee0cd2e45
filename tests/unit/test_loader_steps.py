"""Steps: defaults, aliases, values written as strings, ids."""

from __future__ import annotations

import pytest

from patchbay_runner.model.assertions import Assertion
from patchbay_runner.model.links import PRESETS, LinkCondition
from patchbay_runner.model.steps import (
    Assert,
    Capture,
    GenCerts,
    ProcessStep,
    ResultKeys,
    Run,
    SetLinkCondition,
    Spawn,
    Wait,
    WaitFor,
)
from tests.unit.loading import Loading, loading

__all__ = ["loading"]


def ids(loading: Loading, text: str) -> list[str]:
    return [step.id for step in loading.steps(text)]


def test_a_step_with_a_command_runs_it(loading: Loading) -> None:
    step = loading.step('device = "client"\ncmd = ["ping"]\nargs = ["-c", "1"]')
    assert isinstance(step, Run)
    assert (step.id, step.device, step.cmd) == ("client", "client", ("ping", "-c", "1"))
    assert (step.origin.file, step.origin.line) == ("sim.toml", 1)


def test_kind_is_another_word_for_action(loading: Loading) -> None:
    assert isinstance(loading.step('kind = "wait"\nduration = "1s"'), Wait)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1500ms", 1.5), ("1.5s", 1.5), ("0.5m", 30.0), ("2h", 7200.0), ("0s", 0.0)]
)
def test_durations(loading: Loading, text: str, seconds: float) -> None:
    step = loading.step(f'action = "wait"\nduration = "{text}"')
    assert isinstance(step, Wait)
    assert step.duration_s == seconds


@pytest.mark.parametrize(("written", "expected"), [("3", 3), ('"3"', 3), ("-9", -9), ('"any"', "any")])
def test_expected_exit(loading: Loading, written: str, expected: object) -> None:
    step = loading.step(f'device = "client"\ncmd = ["a"]\nexpect_exit = {written}')
    assert isinstance(step, ProcessStep)
    assert step.expect_exit == expected


@pytest.mark.parametrize("device", ["dc", "ix", "client", "peer-1"])
def test_steps_run_on_any_node(loading: Loading, device: str) -> None:
    step = loading.step(f'device = "{device}"\ncmd = ["a"]')
    assert isinstance(step, ProcessStep)
    assert step.device == device


def test_a_device_may_be_known_only_at_run_time(loading: Loading) -> None:
    chooser = '[[step]]\nid = "pick"\ndevice = "client"\ncmd = ["a"]\ncaptures.host.regex = ".*"\n'
    _, step = loading.steps(chooser + '[[step]]\nid = "x"\ndevice = "${pick.host}"\ncmd = ["a"]')
    assert isinstance(step, ProcessStep)
    assert step.device == "${pick.host}"
    assert loading.errors(chooser + '[[step]]\ndevice = "${pick.host}"\ncmd = ["a"]') == [
        'step[1].device: the step needs an "id" of its own, since its device is known only when it runs'
    ]


def test_environments_hold_text(loading: Loading) -> None:
    step = loading.step('device = "client"\ncmd = ["a"]\nenv = { A = "x", B = 1, C = 0.5 }')
    assert isinstance(step, ProcessStep)
    assert step.env == {"A": "x", "B": "1", "C": "0.5"}


def test_a_run_is_called_like_its_device_and_numbered_from_the_second_on(loading: Loading) -> None:
    run = '[[step]]\ndevice = "client"\ncmd = ["a"]\n'
    assert ids(loading, run * 3) == ["client", "client-2", "client-3"]
    assert ids(loading, run + run.replace("cmd", 'id = "client"\ncmd')) == ["client-2", "client"]
    assert ids(loading, run + run.replace("cmd", 'id = "client-2"\ncmd') + run) == ["client", "client-2", "client-3"]


def test_the_id_of_a_wait_for_takes_no_name_from_a_run(loading: Loading) -> None:
    spawn = '[[step]]\naction = "spawn"\nid = "client"\ndevice = "client"\ncmd = ["a"]\n'
    wait = '[[step]]\naction = "wait-for"\nid = "client"\n'
    assert ids(loading, spawn + wait + '[[step]]\ndevice = "client"\ncmd = ["a"]') == ["client", "client", "client-2"]


def test_skipped_steps_are_not_there(loading: Loading) -> None:
    run = '[[step]]\nid = "a"\ndevice = "client"\ncmd = ["a"]\nwhen = {}\n'
    assert ids(loading, "".join(run.format(value) for value in ('"false"', "false"))) == []
    for value in ('"true"', "true", '"no"', "0", '""'):
        assert ids(loading, run.format(value)) == ["a"]


def test_what_a_skipped_step_says_is_not_wrong(loading: Loading) -> None:
    text = '[[step]]\nwhen = "false"\naction = "assert"\ncheck = "nobody.nothing == 1"\ntimeout = "${matrix.none}"'
    assert loading.steps(text) == ()


def test_all_of_a_capture(loading: Loading) -> None:
    step = loading.step(
        'device = "client"\ncmd = ["a"]\nparser = "ndjson"\n'
        '[step.captures.x]\npipe = "stderr"\nregex = "a"\nmatch = { a = { b = 1 }, c = true, "d.e" = "f" }\npick = ".x"'
    )
    assert isinstance(step, ProcessStep)
    assert step.captures == (
        Capture(name="x", pipe="stderr", regex="a", match={"a.b": 1, "c": True, "d.e": "f"}, pick=".x"),
    )


def test_a_regular_expression_of_an_odd_kind_gives_no_warning(loading: Loading) -> None:
    assert loading.step('device = "client"\ncmd = ["a"]\ncaptures.x.regex = "[[a]"')


def test_results_name_the_steps_own_captures(loading: Loading) -> None:
    step = loading.step(
        'device = "client"\ncmd = ["a"]\n[step.captures.x]\nregex = "x"\n'
        '[step.results]\nduration = ".elapsed_s"\nup_bytes = "client.x"\nduration_unit = "us"'
    )
    assert isinstance(step, ProcessStep)
    assert step.results == ResultKeys(duration="client.elapsed_s", up_bytes="client.x", duration_unit="us")


def test_results_may_name_a_step_that_this_variant_skips(loading: Loading) -> None:
    text = (
        '[[step]]\nid = "ping"\nwhen = "false"\ndevice = "client"\ncmd = ["a"]\n'
        '[[step]]\ndevice = "client"\ncmd = ["a"]\nresults.latency_ms = "ping.{}"'
    )
    assert len(loading.steps(text.format("elapsed_s"))) == 1
    assert len(loading.errors(text.format("rtt"))) == 1


def test_check_and_checks_are_checked_in_order(loading: Loading) -> None:
    run = '[[step]]\nid = "a"\ndevice = "client"\ncmd = ["a"]\n'
    _, step = loading.steps(
        run + '[[step]]\naction = "assert"\nchecks = ["a.elapsed_s < 5"]\ncheck = "a.exit_code == 0"'
    )
    assert isinstance(step, Assert)
    assert step.checks == (Assertion("a.exit_code", "==", "0"), Assertion("a.elapsed_s", "<", "5"))


def test_certificates(loading: Loading) -> None:
    step = loading.step('action = "gen-certs"\nid = "c"')
    assert step == GenCerts(id="c", origin=step.origin)
    step = loading.step('action = "gen-certs"\nid = "c"\ndevice = "dc"\ncn = "x"\nsan = ["$NETSIM_IP_client", "y"]')
    assert isinstance(step, GenCerts)
    assert (step.device, step.cn, step.san) == ("dc", "x", ("$NETSIM_IP_client", "y"))


@pytest.mark.parametrize("action", ["set-link-condition", "set-impair"])
@pytest.mark.parametrize("key", ["condition", "impair", "link_condition"])
@pytest.mark.parametrize(
    ("written", "condition"),
    [
        ('"wifi"', PRESETS["wifi"]),
        ('"mobile"', PRESETS["mobile-4g"]),
        ('"mobile4g"', PRESETS["mobile-4g"]),
        ('"mobile3g"', PRESETS["mobile-3g"]),
        ("{ rate = 10000, loss = 0.5, latency = 40 }", LinkCondition(rate_kbit=10_000, loss_pct=0.5, latency_ms=40)),
        ('{ rate_kbit = "1e3", loss_pct = "0.5" }', LinkCondition(rate_kbit=1000, loss_pct=0.5)),
        ("{}", LinkCondition()),
        ('{ loss_pct = 0, rate_kbit = "0", latency_ms = 0.0 }', LinkCondition()),
        ("{ loss_pct = 100, corrupt_pct = 100 }", LinkCondition(loss_pct=100, corrupt_pct=100)),
    ],
)
def test_link_conditions(loading: Loading, action: str, key: str, written: str, condition: LinkCondition) -> None:
    plan = loading.plan(f'[[step]]\naction = "{action}"\ndevice = "client"\n{key} = {written}')
    (step,) = plan.steps
    assert isinstance(step, SetLinkCondition)
    assert (step.interface, step.condition, step.direction) == ("eth0", condition, "up")


def test_no_condition_clears(loading: Loading) -> None:
    step = loading.step('action = "set-impair"\ndevice = "client"')
    assert isinstance(step, SetLinkCondition)
    assert (step.condition, step.direction) == (None, "both")
    step = loading.step('action = "set-impair"\ndevice = "client"\ndirection = "down"')
    assert isinstance(step, SetLinkCondition)
    assert (step.condition, step.direction) == (None, "down")


def test_more_jitter_than_latency_is_odd_but_not_wrong(loading: Loading) -> None:
    text = '[[step]]\naction = "set-impair"\ndevice = "client"\ncondition = { latency_ms = 5, jitter_ms = 10 }'
    assert loading.warnings(text) == ["jitter_ms 10 exceeds latency_ms 5; no delay goes below 0"]


@pytest.mark.parametrize(
    "command",
    [
        '["sudo", "ip", "link"]',
        '["/usr/bin/su", "-"]',
        '["sh", "-c", "sudo ip link"]',
        '["bash", "-ec", "a && su root"]',
    ],
)
def test_changing_the_user_is_warned_about(loading: Loading, command: str) -> None:
    (warning,) = loading.warnings(f'[[step]]\ndevice = "client"\ncmd = {command}')
    assert warning.startswith("sudo and su change nothing")


@pytest.mark.parametrize("command", ['["sh", "-c", "echo sudoku"]', '["grep", "sudo x"]', '["visudo"]'])
def test_other_commands_are_not_warned_about(loading: Loading, command: str) -> None:
    assert loading.warnings(f'[[step]]\ndevice = "client"\ncmd = {command}') == []


def test_waiting_for_a_spawn(loading: Loading) -> None:
    spawn = '[[step]]\naction = "spawn"\nid = "s"\ndevice = "server"\ncmd = ["s"]\nready_after = "0.5s"\n'
    first, second = loading.steps(
        spawn + '[[step]]\naction = "wait-for"\nid = "s"\ntimeout = "2m"\nexpect_exit = "any"'
    )
    assert isinstance(first, Spawn)
    assert first.ready_after_s == 0.5
    assert isinstance(second, WaitFor)
    assert (second.id, second.timeout_s, second.expect_exit) == ("s", 120.0, "any")


def test_requires_may_be_written_like_a_reference(loading: Loading) -> None:
    text = (
        '[[step]]\nid = "a"\ndevice = "client"\ncmd = ["a"]\n[[step]]\naction = "wait"\nduration = "1s"\nrequires = ['
    )
    _, step = loading.steps(text + '"a.exit_code", "${a.elapsed_s}"]')
    assert step.requires == ("a.exit_code", "a.elapsed_s")


def test_shell_snippets_keep_their_own_expansions(loading: Loading) -> None:
    script = "echo $HOME ${x} ${x:-y} $$ $1 ${x%.*} $(date) ${NETSIM_IP_client}"
    step = loading.step(f"device = 'client'\ncmd = ['sh', '-c', '{script}']")
    assert isinstance(step, ProcessStep)
    assert step.cmd[2] == script
