from __future__ import annotations

import pytest

from patchbay_runner.model.company import depends_on_engine, is_alone
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

BYTES = """
[[step]]
id = "fetch"
device = "client"
cmd = ["true"]
captures.size.regex = "x"
results.down_bytes = "fetch.size"
"""
LATENCY = BYTES.replace("down_bytes", "latency_ms")
SLOW = """
[[step]]
action = "set-link-condition"
device = "client"
interface = "eth0"
condition = { rate = 1000 }
"""
FAR = SLOW.replace("rate = 1000", "latency_ms = 20")
CLEAR = SLOW.replace("{ rate = 1000 }", '"lan"')
WAIT = """
[[step]]
action = "wait"
duration = "1s"
"""
REGIONS = """
[region.eu]
latencies = { us = 40 }
[region.us]
"""


@pytest.mark.parametrize(
    ("text", "emulated", "kernel"),
    [
        (WAIT, False, False),
        (LATENCY, False, False),
        (BYTES, True, True),
        (SLOW, True, True),
        (FAR, True, False),
        (CLEAR, False, False),
        ('[[router]]\nname = "home"\nuplink_condition = "wifi"', True, False),
        ('[[router]]\nname = "home"\ndownlink_condition = "mobile-3g"', True, True),
    ],
)
def test_what_measures_or_is_emulated_runs_alone(loading: Loading, text: str, emulated: bool, kernel: bool) -> None:
    plan = loading.plan(WAIT + text)
    assert is_alone(plan, is_emulated=True) is emulated
    assert is_alone(plan, is_emulated=False) is kernel
    assert depends_on_engine(plan) is (emulated != kernel)


@pytest.mark.parametrize("text", [WAIT, BYTES, SLOW, FAR])
@pytest.mark.parametrize("asked", [True, False])
def test_exclusive_has_the_last_word(loading: Loading, text: str, asked: bool) -> None:
    plan = loading.plan(f"[sim]\nexclusive = {str(asked).lower()}\n{text}")
    assert plan.exclusive is asked
    assert [is_alone(plan, is_emulated=True), is_alone(plan, is_emulated=False)] == [asked, asked]
    assert not depends_on_engine(plan)


def test_links_between_regions_count(loading: Loading) -> None:
    assert depends_on_engine(loading.plan(WAIT + REGIONS))
