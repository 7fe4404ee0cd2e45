"""When links were too late for a sim to count: the verdict on their statistics."""

from __future__ import annotations

import pytest

from patchbay_runner.lab.links import overload
from patchbay_runner.model.links import DirectionStatistics, LinkStatistics


@pytest.mark.parametrize(
    ("packets", "late_p50_ms", "overrun", "is_overloaded"),
    [
        (1, 40.0, 0, False),
        (2, 40.0, 0, False),
        (3, 40.0, 0, True),
        (99, 0.1, 0, False),
        (100, 0.1, 0, True),
        (1, 0.1, 1, True),
    ],
)
def test_one_late_frame_is_no_overload(packets: int, late_p50_ms: float, overrun: int, *, is_overloaded: bool) -> None:
    way = DirectionStatistics(
        packets=packets, overrun=overrun, late_p50_ms=late_p50_ms, late_p99_ms=40, late_max_ms=40, overloaded=True
    )
    assert (overload([LinkStatistics(name="phone.eth0", up=way)]) is not None) is is_overloaded


def test_a_link_that_was_on_time_is_none() -> None:
    way = DirectionStatistics(packets=1000, late_p50_ms=0.1, late_p99_ms=0.9, late_max_ms=30)
    assert overload([LinkStatistics(name="phone.eth0", up=way, down=way)]) is None


def test_the_verdict_names_the_links_and_how_late_they_were() -> None:
    way = DirectionStatistics(packets=1000, overrun=3, late_p99_ms=12.34, late_max_ms=50, overloaded=True)
    found = overload([LinkStatistics(name="fine.eth0"), LinkStatistics(name="phone.eth0", down=way)])
    assert found is not None
    assert found.endswith("on time: phone.eth0 was 12.3 ms late at p99, 50.0 ms at worst, 3 frames lost")
