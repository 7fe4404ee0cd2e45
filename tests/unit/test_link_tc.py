"""Our traffic-control requests, read back by pyroute2's decoder, and arithmetic of queues, bursts and chances."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from pyroute2.netlink.rtnl.tcmsg import tcmsg

from patchbay_runner.kernel.links import tc
from patchbay_runner.kernel.netlink import wire
from patchbay_runner.kernel.netlink.describe import describe
from patchbay_runner.model.links import LinkCondition

WHOLE = 0xFFFFFFFF


def decoded(request: bytes) -> Any:
    message = tcmsg(request)
    message.decode()
    return message


def options(request: bytes) -> dict[int, bytes]:
    """The attributes below TCA_OPTIONS; those of netem come after its 24 bytes of parameters."""
    attributes = wire.parse_attributes(request, wire.HEADER_SIZE + 20)
    netem = attributes[tc.TCA_KIND] == b"netem\0"
    found = wire.parse_attributes(attributes[tc.TCA_OPTIONS], 24 if netem else 0)
    return {0: attributes[tc.TCA_OPTIONS][:24], **found} if netem else found


FRAME = 1518


def tree(seed: int | None = None, **condition: float) -> list[dict[int, bytes]]:
    """The options of the three qdiscs."""
    return [options(request) for request in tc.set_tree(7, LinkCondition(**condition), FRAME, seed)]


def netem(seed: int | None = None, **condition: float) -> dict[int, bytes]:
    return tree(seed, **condition)[1]


def test_netem_stands_between_what_cuts_segments_and_the_rate() -> None:
    messages = [decoded(request) for request in tc.set_tree(7, LinkCondition(latency_ms=5), FRAME)]
    assert [message.get_attr("TCA_KIND") for message in messages] == ["tbf", "netem", "tbf"]
    assert [message["index"] for message in messages] == [7, 7, 7]
    parents = [0xFFFFFFFF, *(message["handle"] | 1 for message in messages[:2])]
    assert [message["parent"] for message in messages] == parents
    for message in messages:
        assert message["header"]["type"] == wire.RTM_NEWQDISC
        assert message["header"]["flags"] & wire.CREATE_OR_REPLACE == wire.CREATE_OR_REPLACE


@pytest.mark.parametrize(
    "condition", [{"loss_pct": 1}, {"rate_kbit": 1}, {"reorder_pct": 1}, {"duplicate_pct": 1}, {"corrupt_pct": 1}]
)
def test_segments_are_cut_where_each_frame_has_a_fate(condition: dict[str, float]) -> None:
    cutter, _, _ = tree(latency_ms=5, **condition)
    assert struct.unpack("=I", cutter[6]) == (FRAME,)


def test_segments_stay_whole_where_all_frames_fare_alike() -> None:
    for request in (tree(latency_ms=5, jitter_ms=2), tree()):
        for bucket in (request[0], request[2]):
            assert struct.unpack("=I", bucket[6])[0] >= 1 << 19, "the longest segments have half a megabyte"
            assert struct.unpack("=Q", bucket[4])[0] >= 100e9


def test_delay_and_jitter_are_nanoseconds() -> None:
    found = netem(latency_ms=20.5, jitter_ms=3)
    assert struct.unpack("=q", found[10]) == (20_500_000,)
    assert struct.unpack("=q", found[11]) == (3_000_000,)


def test_every_condition_comes_with_a_rate_that_keeps_the_order() -> None:
    for condition in ({"latency_ms": 20, "jitter_ms": 3}, {"loss_pct": 1}, {"rate_kbit": 1000}):
        assert struct.unpack("=IiIi", netem(**condition)[6])[0] == 0xFFFFFFFE
    assert struct.unpack("=IiIi", netem()[6])[0] == 0


@pytest.mark.parametrize(("percent", "share"), [(0.0, 0), (0.5, 0.005), (50, 0.5), (100, 1)])
def test_percentages_are_shares_of_all_bits(percent: float, share: float) -> None:
    found = netem(loss_pct=percent, duplicate_pct=percent, reorder_pct=percent, corrupt_pct=percent)
    _, _, loss, gap, duplicate, _ = struct.unpack("=IIIIII", found[0])
    reorder, _ = struct.unpack("=II", found[3])
    corrupt, _ = struct.unpack("=II", found[4])
    assert [loss, duplicate, reorder, corrupt] == [round(share * WHOLE)] * 4
    # netem reorders nothing without a gap.
    assert gap == (1 if percent else 0)


def test_bursts_are_gilberts_model() -> None:
    found = netem(loss_pct=10, loss_burst=4)
    assert struct.unpack("=IIIIII", found[0])[2] == 0
    (kind,) = wire.parse_attributes(found[5], 0)
    enter, leave, passed_in_burst, lost_outside = struct.unpack("=IIII", wire.parse_attributes(found[5], 0)[kind])
    assert kind == 2
    assert leave / WHOLE == pytest.approx(1 / 4)
    assert enter / WHOLE / (enter / WHOLE + leave / WHOLE) == pytest.approx(0.1)
    assert (passed_in_burst, lost_outside) == (0, 0)


def test_independent_loss_has_no_model() -> None:
    assert 5 not in netem(loss_pct=10)


def test_a_seed_is_passed_where_there_is_one() -> None:
    assert struct.unpack("=Q", netem(seed=77, loss_pct=1)[14]) == (77,)
    assert 14 not in netem(loss_pct=1)


def test_the_line_holds_what_delay_and_rate_ask_for() -> None:
    assert tc.queue_packets(LinkCondition(latency_ms=5)) == 100_000
    fast = {"latency_ms": 300, "jitter_ms": 20, "rate_kbit": 1_000_000, "buffer_ms": 80}
    assert tc.queue_packets(LinkCondition(**fast)) == round(0.4 * 1e9 / 8 / 60)
    assert struct.unpack("=IIIIII", netem(**fast)[0])[1] == tc.queue_packets(LinkCondition(**fast))


@pytest.mark.parametrize("rate_kbit", [0.001, 64.0, 2_000.0, 54_000.0, 200_000.0, 100_000_000.0, 1e9])
def test_the_bucket_has_the_rate_a_burst_and_a_queue_of_the_asked_depth(rate_kbit: float) -> None:
    found = tree(rate_kbit=rate_kbit, buffer_ms=100)[2]
    rate, _, limit, buffer, _ = struct.unpack("=12s12sIII", found[1])
    layer, rate_bytes = struct.unpack("=xBxxxxxxI", rate)
    (burst,) = struct.unpack("=I", found[6])
    assert layer == 1, "with another one the kernel wants a table of rates"
    asked_bytes = max(1, rate_kbit * 125)
    if asked_bytes <= WHOLE:
        assert (rate_bytes, 4 in found) == (asked_bytes, False)
    else:
        assert (rate_bytes, struct.unpack("=Q", found[4])) == (WHOLE, (asked_bytes,))
    assert burst == pytest.approx(FRAME + asked_bytes * 0.004, abs=1)
    assert buffer * 64e-9 == pytest.approx(min(WHOLE * 64e-9, burst / asked_bytes), rel=0.01)
    assert limit == pytest.approx(min(WHOLE, burst + asked_bytes * 0.1), abs=1)


def test_a_redirect_is_classic_bpf_and_mirred() -> None:
    request = tc.add_redirect(7, tc.INGRESS, 1, 9, to=tc.TO_INGRESS, unless_mark=0x7062)
    message = decoded(request)
    assert (message["index"], message["parent"], message["info"]) == (7, 0xFFFFFFF2, 1 << 16 | 0x0300)
    assert message.get_attr("TCA_KIND") == "bpf"
    found = options(request)
    program = [struct.unpack("=HBBI", found[5][i : i + 8]) for i in range(0, len(found[5]), 8)]
    assert struct.unpack("=H", found[4]) == (len(program),)
    assert program == [(0x20, 0, 0, 0xFFFFF014), (0x15, 0, 1, 0x7062), (6, 0, 0, 0), (6, 0, 0, WHOLE)]
    action = wire.parse_attributes(wire.parse_attributes(found[1], 0)[1], 0)
    assert action[1] == b"mirred\0"
    *_, what, target = struct.unpack("=IIiiiiI", wire.parse_attributes(action[2], 0)[2])
    assert (what, target) == (tc.TO_INGRESS, 9)


def test_without_a_mark_everything_is_redirected() -> None:
    assert options(tc.add_redirect(7, tc.EGRESS, 1, 9))[5] == struct.pack("=HBBI", 6, 0, 0, WHOLE)


def test_a_redirect_is_deleted_by_its_place_and_preference() -> None:
    added = decoded(tc.add_redirect(7, tc.EGRESS, 3, 9))
    deleted = decoded(tc.delete_redirect(7, tc.EGRESS, 3))
    assert deleted["header"]["type"] == wire.RTM_DELTFILTER
    for key in ("index", "parent", "info"):
        assert deleted[key] == added[key]


def test_the_counters_of_a_qdisc_are_read() -> None:
    basic = wire.attribute(1, struct.pack("=QIxxxx", 5_000, 40))
    queue = wire.attribute(3, struct.pack("=IIIII", 3, 900, 2, 0, 0))
    body = struct.pack("=BxxxiIII", 0, 7, 0x10000, 0xFFFFFFFF, 0) + wire.text(1, "netem") + wire.nested(7, basic, queue)
    assert tc.parse_qdisc(body) == tc.QdiscCounters(5_000, 40, 2, 900)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (tc.set_tree(7, LinkCondition(latency_ms=5), FRAME)[0], "replace tbf 1: at the root of index 7"),
        (tc.set_tree(7, LinkCondition(latency_ms=5), FRAME)[1], "replace netem 2: at 1:1 of index 7"),
        (tc.delete_root(7), "delete qdisc at the root of index 7"),
        (tc.add_clsact(7), "add clsact ffff: at the hooks of index 7"),
        (tc.add_redirect(7, tc.INGRESS, 1, 9), "add bpf filter 1 at the ingress of index 7"),
        (tc.delete_redirect(7, tc.EGRESS, 1), "delete filter 1 at the egress of index 7"),
    ],
)
def test_refusals_name_the_qdisc(request_: bytes, words: str) -> None:
    assert describe(request_) == words
