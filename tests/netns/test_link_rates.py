"""What emulated links carry: TCP at an asked rate, many frames a second, many links at once."""

from __future__ import annotations

import statistics

import pytest

from patchbay_runner.model.links import DirectionStatistics, LinkCondition
from tests.netns.support.link_probes import FRAME, PAYLOAD, TCP_SHARE, goodput_kbit, iperf, paced_delays_ms
from tests.netns.support.link_world import ENGINE, LinkWorld
from tests.netns.support.measuring import nearest, require_idle_machine

pytestmark = pytest.mark.alone

emulator_only = pytest.mark.skipif(ENGINE != "emulator", reason="it is about what the emulator can do")

# 20 ms, and a rate that never holds a frame up but makes each of them count.
FRAME_BY_FRAME = LinkCondition(latency_ms=20, rate_kbit=10_000_000)


@pytest.mark.parametrize("rate_kbit", [2_000, 20_000, 54_000, 200_000])
def test_tcp_gets_what_headers_leave_of_the_rate(rate_kbit: float) -> None:
    asked = TCP_SHARE * rate_kbit
    with LinkWorld(1) as world:
        world.apply(up=LinkCondition(rate_kbit=rate_kbit, latency_ms=5))
        found = nearest(asked, lambda: goodput_kbit(world, 2.0), 0.05 * asked)
    assert found == pytest.approx(asked, rel=0.05)


@emulator_only
def test_250_megabits_of_frames_leave_on_time() -> None:
    def late_ms() -> float:
        mbit, found = upload("-u", "-b", "250M", "-l", str(PAYLOAD))
        assert mbit > 240
        return found.late_p99_ms

    require_idle_machine()
    assert nearest(0, late_ms, 5) < 5


@emulator_only
def test_700_megabits_of_frames_pass_and_more_when_only_a_delay_is_asked() -> None:
    require_idle_machine()
    assert nearest(2_000, lambda: upload()[0], 1_300) >= 700
    assert nearest(4_000, lambda: upload(condition=LinkCondition(latency_ms=20))[0], 3_000) >= 1_000


def upload(*options: str, condition: LinkCondition = FRAME_BY_FRAME) -> tuple[float, DirectionStatistics]:
    """Mbit/s that iperf3's server has received, and what the link says of it."""
    with LinkWorld(1) as world:
        world.apply(up=condition)
        end = iperf(world, 2, *options)
        found = world.statistics()["d0.eth0"].up
    assert found is not None
    if options:
        return end["sum"]["bits_per_second"] * (1 - end["sum"]["lost_percent"] / 100) / 1e6, found
    return end["sum_received"]["bits_per_second"] / 1e6, found


@emulator_only
def test_fifty_links_at_half_their_rate_are_on_time_together() -> None:
    rate_kbit, latency_ms = 5_000, 20
    asked_ms = latency_ms + FRAME * 8 / rate_kbit
    condition = LinkCondition(latency_ms=latency_ms, rate_kbit=rate_kbit)
    require_idle_machine()
    with LinkWorld(50) as world:
        world.apply_all([(f"d{number}", condition, None) for number in range(50)])

        def mean_ms() -> float:
            found = paced_delays_ms(world, 50, FRAME * 8 / (rate_kbit * 500), 1.5)
            assert len(found) > 14_000
            return statistics.fmean(found)

        assert nearest(asked_ms, mean_ms, 1.0) == pytest.approx(asked_ms, abs=1.0)
