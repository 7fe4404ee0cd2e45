from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import pytest

from patchbay_runner.cli.selection import repeated, select
from patchbay_runner.model.plan import Plan


def plan(name: str, **matrix: Any) -> Plan:
    return Plan(name=name, source="sims.toml", matrix=matrix)


PLANS = (
    plan("web"),
    plan("ping-home-1500", nat="home", mtu=1500),
    plan("ping-home-1280", nat="home", mtu=1280),
    plan("ping-none-1500", nat="none", mtu=1500),
    plan("relay-True", v6=True),
)


def names(patterns: Sequence[str] = (), axis_values: Sequence[str] = ()) -> list[str]:
    return [found.name for found in select(PLANS, patterns, axis_values)]


def refusal(patterns: Sequence[str] = (), axis_values: Sequence[str] = ()) -> str:
    with pytest.raises(click.BadParameter) as raised:
        select(PLANS, patterns, axis_values)
    return raised.value.format_message()


def test_without_options_all_are_meant() -> None:
    assert select(PLANS, (), ()) == PLANS
    assert select((), (), ()) == ()


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["web"], ["web"]),
        (["home"], ["ping-home-1500", "ping-home-1280"]),
        (["*-1500"], ["ping-home-1500", "ping-none-1500"]),
        (["ping-[hn]*0"], ["ping-home-1500", "ping-home-1280", "ping-none-1500"]),
        (["none", "web"], ["web", "ping-none-1500"]),
        (["home", "nobody"], ["ping-home-1500", "ping-home-1280"]),
        (["ping-?"], None),
        (["WEB"], None),
    ],
)
def test_a_filter_is_a_part_of_the_name_or_a_glob_for_all_of_it(patterns: list[str], expected: list[str]) -> None:
    if expected is None:
        refusal(patterns)
    else:
        assert names(patterns) == expected


def test_values_of_one_axis_are_alternatives_and_axes_add_up() -> None:
    assert names(axis_values=["nat=home"]) == ["ping-home-1500", "ping-home-1280"]
    assert names(axis_values=["nat=home", "mtu=1280"]) == ["ping-home-1280"]
    assert names(axis_values=["nat=home", "nat=none", "mtu=1500"]) == ["ping-home-1500", "ping-none-1500"]
    assert names(axis_values=["v6=true"]) == ["relay-True"]
    assert names(["1280"], ["nat=home"]) == ["ping-home-1280"]


def test_what_no_sim_has_is_an_error_that_says_what_there_is() -> None:
    wrong = "Invalid value for --matrix: "
    assert refusal(axis_values=["nat"]) == wrong + '"nat" is not of the form key=value'
    assert refusal(axis_values=["nta=home"]) == wrong + 'no sim has a matrix with the axis "nta" (did you mean "nat"?)'
    assert refusal(axis_values=["zzz=1"]) == (
        wrong + 'no sim has a matrix with the axis "zzz"; there is "nat", "mtu" or "v6"'
    )
    assert refusal(axis_values=["mtu=9000"]) == wrong + 'the axis "mtu" has no value "9000"; there is "1500" or "1280"'
    assert refusal(axis_values=["nat=none", "mtu=1280"]) == wrong + "no variant has all these values"
    assert refusal(["wbe"]) == 'Invalid value for --filter: no sim is called like "wbe" (did you mean "web"?)'
    assert refusal(["zzz"], ["nat=none"]) == (
        'Invalid value for --filter: no sim is called like "zzz"; there is "ping-none-1500"'
    )


def test_attempts_follow_each_other() -> None:
    assert repeated(PLANS, 1) == PLANS
    twice = repeated(PLANS[:2], 2)
    assert [found.title for found in twice] == ["web #1", "web #2", "ping-home-1500 #1", "ping-home-1500 #2"]
    assert [found.name for found in twice] == ["web", "web", "ping-home-1500", "ping-home-1500"]
