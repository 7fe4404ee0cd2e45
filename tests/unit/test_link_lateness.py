"""The lateness histogram gives percentiles that bound the truth closely, and the verdict of the design."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.links.lateness import Lateness, LatenessHistogram


def summary(late_ns: list[int]) -> Lateness:
    histogram = LatenessHistogram()
    for each in late_ns:
        histogram.add(each)
    return histogram.summary()


def test_no_frames_are_not_late() -> None:
    assert summary([]) == Lateness()


@given(st.lists(st.integers(-100_000, 20_000_000_000), min_size=1, max_size=300))
def test_percentiles_bound_the_true_ones_from_above(late_ns: list[int]) -> None:
    found = summary(late_ns)
    ordered = sorted(max(0, each) for each in late_ns)
    assert found.frames == len(late_ns)
    assert found.max_ms == ordered[-1] / 1e6
    for share, bound_ms in ((0.5, found.p50_ms), (0.99, found.p99_ms)):
        true_ms = ordered[max(0, -(-int(share * 100) * len(ordered) // 100) - 1)] / 1e6
        assert true_ms <= bound_ms + 0.001
        assert bound_ms <= true_ms * 1.13 + 0.002


def test_one_in_a_thousand_does_not_move_the_99th_percentile() -> None:
    found = summary([100_000] * 999 + [50_000_000])
    assert found.p99_ms < 0.12
    assert found.max_ms == 50


@pytest.mark.parametrize(
    ("p99_ms", "latency_ms", "tolerable"),
    [(1.0, 0, True), (1.1, 0, False), (1.1, 5, False), (1.9, 20, True), (2.1, 20, False), (29, 300, True)],
)
def test_late_is_the_larger_of_a_millisecond_and_a_tenth(p99_ms: float, latency_ms: float, tolerable: bool) -> None:
    assert Lateness(frames=100, p99_ms=p99_ms).is_tolerable(latency_ms) is tolerable
