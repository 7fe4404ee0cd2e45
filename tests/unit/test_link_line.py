"""What befalls each frame of a line: delay, order, rate, queue, loss, bursts, and that a seed repeats all of it."""

from __future__ import annotations

import statistics
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.links.chance import CORRUPT, DUPLICATE, EARLY, burst_chances
from patchbay_runner.kernel.links.line import DEFAULT_BUFFER_MS, DROPPED, Line
from patchbay_runner.model.links import LinkCondition

MS = 1_000_000
FRAME = 1514


def fates(line: Line, count: int, every_ns: int = MS, length: int = FRAME) -> list[tuple[int, int]]:
    return [line.admit(number * every_ns, length) for number in range(count)]


def delays_ms(line: Line, count: int, every_ns: int = MS) -> list[float]:
    return [(departure - n * every_ns) / MS for n, (departure, _) in enumerate(fates(line, count, every_ns))]


def bursts(lost: list[bool]) -> list[int]:
    return [len(run) for run in "".join("x" if each else " " for each in lost).split()]


def test_latency_is_added_to_the_arrival() -> None:
    assert delays_ms(Line(LinkCondition(latency_ms=20)), 5) == [20] * 5


def test_jitter_is_uniform_around_the_latency() -> None:
    found = delays_ms(Line(LinkCondition(latency_ms=20, jitter_ms=5)), 20_000, every_ns=100 * MS)
    assert 15 <= min(found) < 15.1
    assert 24.9 < max(found) <= 25
    assert statistics.fmean(found) == pytest.approx(20, abs=0.1)
    assert statistics.stdev(found) == pytest.approx(10 / 12**0.5, rel=0.02)


def test_jitter_larger_than_the_latency_never_sends_before_the_arrival() -> None:
    assert min(delays_ms(Line(LinkCondition(latency_ms=1, jitter_ms=5)), 1000, every_ns=20 * MS)) == 0


@given(
    st.builds(
        LinkCondition,
        latency_ms=st.floats(0, 300),
        jitter_ms=st.floats(0, 100),
        rate_kbit=st.sampled_from([0.0, 64.0, 2_000.0, 1e6]),
        reorder_pct=st.sampled_from([0.0, 20.0]),
        loss_pct=st.sampled_from([0.0, 20.0]),
        buffer_ms=st.sampled_from([0.0, 10.0]),
    ),
    st.lists(st.tuples(st.integers(0, 5 * MS), st.integers(14, 1514)), max_size=60),
)
def test_departures_keep_the_order_and_never_precede_the_arrival(
    condition: LinkCondition, traffic: list[tuple[int, int]]
) -> None:
    line = Line(condition)
    arrival = 0
    left: dict[bool, list[int]] = {True: [], False: []}
    for gap, length in traffic:
        arrival += gap
        departure, flags = line.admit(arrival, length)
        if departure != DROPPED:
            assert departure >= arrival
            left[bool(flags & EARLY)].append(departure)
    for departures in left.values():
        assert all(before <= after for before, after in pairwise(departures))
    counters = line.counters()
    assert counters.packets == len(traffic)
    assert counters.lost + counters.overflowed + sum(map(len, left.values())) == len(traffic)


def test_the_rate_spaces_frames_by_their_bytes() -> None:
    line = Line(LinkCondition(rate_kbit=2_000, latency_ms=10))
    departures = [departure for departure, _ in fates(line, 10, every_ns=0)]
    gaps = [after - before for before, after in pairwise(departures)]
    assert gaps == pytest.approx([FRAME * 8 / 2_000 * MS] * 9, abs=1)
    assert departures[0] == pytest.approx(10 * MS + gaps[0], abs=1)


@pytest.mark.parametrize(("asked_ms", "depth_ms"), [(100.0, 100.0), (0.0, DEFAULT_BUFFER_MS)])
def test_the_queue_is_as_deep_as_asked_and_then_drops_its_tail(asked_ms: float, depth_ms: float) -> None:
    line = Line(LinkCondition(rate_kbit=2_000, buffer_ms=asked_ms))
    found = [departure for departure, _ in fates(line, 1000, every_ns=0)]
    passed = [departure for departure in found if departure != DROPPED]
    frame_ms = FRAME * 8 / 2_000
    assert depth_ms <= max(passed) / MS <= depth_ms + 2 * frame_ms
    assert found[len(passed) :] == [DROPPED] * (1000 - len(passed))
    counters = line.counters()
    assert counters.overflowed == 1000 - len(passed)
    assert counters.queue_peak_bytes == len(passed) * FRAME


def test_a_rate_has_room_again_once_its_queue_is_empty() -> None:
    line = Line(LinkCondition(rate_kbit=2_000, buffer_ms=10))
    fates(line, 100, every_ns=0)
    assert line.admit(1_000 * MS, FRAME)[0] == pytest.approx(1_000 * MS + FRAME * 8 / 2_000 * MS, abs=1)


@pytest.mark.parametrize("loss_pct", [0.5, 2, 10, 50, 100])
@pytest.mark.parametrize("burst", [0.0, 5.0])
def test_loss_is_the_asked_share(loss_pct: float, burst: float) -> None:
    line = Line(LinkCondition(loss_pct=loss_pct, loss_burst=burst), seed=4)
    count = 200_000
    fates(line, count)
    chance = loss_pct / 100
    spread = (chance * (1 - chance) * count * (2 * max(burst, 1))) ** 0.5
    assert abs(line.counters().lost - chance * count) <= 4 * spread


@pytest.mark.parametrize("length", [1.5, 3.0, 10.0])
def test_bursts_have_the_asked_mean_length(length: float) -> None:
    line = Line(LinkCondition(loss_pct=5, loss_burst=length), seed=1)
    found: list[int] = []
    while len(found) < 3000:
        found += bursts([departure == DROPPED for departure, _ in fates(line, 50_000)])
    assert statistics.fmean(found) == pytest.approx(length, rel=0.1)


def test_without_bursts_each_packet_is_lost_on_its_own() -> None:
    lost = [departure == DROPPED for departure, _ in fates(Line(LinkCondition(loss_pct=30)), 100_000)]
    assert statistics.fmean(bursts(lost)) == pytest.approx(1 / 0.7, rel=0.03)


@given(st.floats(0.01, 99.9), st.floats(1, 1000))
def test_burst_chances_are_chances_and_give_the_loss(loss_pct: float, burst: float) -> None:
    enter, leave = burst_chances(LinkCondition(loss_pct=loss_pct, loss_burst=burst))
    assert 0 <= enter <= 1.0000001
    assert 0 < leave <= 1
    assert enter / (enter + leave) == pytest.approx(loss_pct / 100)


@pytest.mark.parametrize(
    ("condition", "flag", "counter"),
    [
        (LinkCondition(latency_ms=10, reorder_pct=5), EARLY, "reordered"),
        (LinkCondition(duplicate_pct=5), DUPLICATE, "duplicated"),
        (LinkCondition(corrupt_pct=5), CORRUPT, "corrupted"),
    ],
)
def test_flags_befall_the_asked_share(condition: LinkCondition, flag: int, counter: str) -> None:
    line = Line(condition)
    count = 40_000
    flagged = sum(flags == flag for _, flags in fates(line, count))
    assert flagged == pytest.approx(0.05 * count, rel=0.1)
    assert getattr(line.counters(), counter) == flagged


def test_reordered_frames_skip_the_latency_only() -> None:
    line = Line(LinkCondition(latency_ms=10, reorder_pct=50, rate_kbit=1_000))
    spent = {flags: departure for departure, flags in (line.admit(0, 125) for _ in range(2))}
    assert set(spent.values()) <= {1 * MS, 2 * MS, 11 * MS, 12 * MS}


EVERYTHING = LinkCondition(
    latency_ms=20, jitter_ms=5, loss_pct=10, reorder_pct=5, duplicate_pct=5, corrupt_pct=5, loss_burst=3
)


def test_a_seed_gives_every_packet_the_same_fate_again() -> None:
    first, again = (fates(Line(EVERYTHING, "d.eth0/up", 7), 2000) for _ in range(2))
    assert first == again
    assert fates(Line(EVERYTHING, "d.eth0/up", 8), 2000) != first
    assert fates(Line(EVERYTHING, "d.eth0/down", 7), 2000) != first


def test_the_fate_of_the_nth_packet_does_not_hang_on_the_timing() -> None:
    """Neither a full queue nor other gaps may shift who is lost, flagged or how much jittered."""
    narrow = LinkCondition(loss_pct=10, duplicate_pct=5, rate_kbit=1_000, buffer_ms=20)
    slow = fates(Line(narrow, seed=3), 3000, every_ns=100 * MS)
    crowded_line = Line(narrow, seed=3)
    crowded = fates(crowded_line, 3000, every_ns=MS)
    assert crowded_line.counters().overflowed > 1000
    for (departure_slow, flags_slow), (departure, flags) in zip(slow, crowded, strict=True):
        if departure != DROPPED:
            assert departure_slow != DROPPED
            assert flags == flags_slow


def test_group_frames_leave_the_fate_of_others_alone() -> None:
    """A host's own multicast comes at times of its own; which packets of a program are lost must not hang on it."""
    quiet = fates(Line(EVERYTHING, seed=3), 1000)
    line = Line(EVERYTHING, seed=3)
    chatty = []
    for number in range(1000):
        if number % 7 == 0:
            line.admit(number * MS, 90, to_group=True)
        chatty.append(line.admit(number * MS, FRAME))
    assert [departure == DROPPED for departure, _ in chatty] == [departure == DROPPED for departure, _ in quiet]
    assert [flags for _, flags in chatty] == [flags for _, flags in quiet]


def test_a_change_starts_the_streams_afresh_whenever_it_comes() -> None:
    found = []
    for earlier in (10, 500):
        line = Line(EVERYTHING, seed=5)
        fates(line, earlier)
        line.change(LinkCondition(loss_pct=20))
        found.append([departure == DROPPED for departure, _ in (line.admit(10**12, FRAME) for _ in range(500))])
    assert found[0] == found[1]


def test_a_shorter_latency_lets_no_frame_overtake() -> None:
    line = Line(LinkCondition(latency_ms=300))
    before, _ = line.admit(0, FRAME)
    line.change(LinkCondition(latency_ms=5))
    assert line.admit(MS, FRAME)[0] == before
    assert line.admit(400 * MS, FRAME)[0] == 405 * MS


def test_the_peak_of_the_queue_is_kept_over_a_change_of_the_rate() -> None:
    line = Line(LinkCondition(rate_kbit=1_000))
    fates(line, 10, every_ns=0)
    line.change(LinkCondition(latency_ms=1))
    fates(line, 10, every_ns=0)
    assert line.counters().queue_peak_bytes == 10 * FRAME
