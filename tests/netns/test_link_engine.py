"""The link emulator on real links: what was asked is measured with real packets, and nothing else changes."""

from __future__ import annotations

import random
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from math import sqrt
from typing import Any

import pytest

from patchbay_runner.errors import PatchbayError
from patchbay_runner.kernel.links.splice import diverted_from
from patchbay_runner.model.links import LinkCondition
from tests.netns.support.link_world import ENGINE, SLOW, LinkWorld
from tests.netns.support.measuring import nearest

pytestmark = [pytest.mark.netns, pytest.mark.alone]

emulator_only = pytest.mark.skipif(ENGINE != "emulator", reason="it is about the emulator's own workings")

FRAME = 1514
PAYLOAD = 1472
RATES_KBIT = [2_000, 20_000] if SLOW else [2_000, 20_000, 54_000, 200_000]
# How much less than a rate may pass, and how much more. An emulated processor that others hold up for more than the
# 4 ms that the bucket makes good loses some of it, the more the faster; tests/netem reads the exact rate.
LESS, MORE = (0.25, 0.06) if SLOW else (0.03, 0.03)


def tolerance_ms(asked_ms: float) -> float:
    """How far off a delay may be; on an emulated processor 2 ms or 2 %."""
    return max(2.0, 0.02 * asked_ms) if SLOW else max(0.5, 0.005 * asked_ms)


@pytest.fixture(scope="module")
def shared() -> Iterator[LinkWorld]:
    with LinkWorld(3) as world:
        yield world


@pytest.fixture
def world(shared: LinkWorld) -> Iterator[LinkWorld]:
    """The module's lab, with every link clear again afterwards."""
    yield shared
    for device in ("d0", "d1", "d2", ""):
        shared.apply(device)


def typical_ms(world: LinkWorld, device: str = "d0", **kind: str) -> float:
    """The mean of the faster half of 100 round trips, as a busy machine holds some up; the least where it does all."""
    trips = sorted(world.round_trips_ms(device, 100, **kind))
    return trips[0] if SLOW else statistics.fmean(trips[:50])


def added_ms(world: LinkWorld, base_ms: float, asked_ms: float, device: str = "d0", **kind: str) -> float:
    """What a link adds to round trips."""
    return nearest(asked_ms, lambda: typical_ms(world, device, **kind) - base_ms, tolerance_ms(asked_ms))


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
@pytest.mark.parametrize("latency_ms", [5, 20, 100, 300])
def test_latency_is_added_to_the_upload(world: LinkWorld, latency_ms: float, family: str) -> None:
    base_ms = typical_ms(world, family=family)
    world.apply(up=LinkCondition(latency_ms=latency_ms))
    found = added_ms(world, base_ms, latency_ms, family=family)
    assert found == pytest.approx(latency_ms, abs=tolerance_ms(latency_ms))


def test_each_direction_has_a_latency_of_its_own(world: LinkWorld) -> None:
    base_ms = typical_ms(world)
    world.apply(up=LinkCondition(latency_ms=20), down=LinkCondition(latency_ms=50))
    assert added_ms(world, base_ms, 70) == pytest.approx(70, abs=2 * tolerance_ms(70))
    world.apply(down=LinkCondition(latency_ms=50))
    assert added_ms(world, base_ms, 50) == pytest.approx(50, abs=2 * tolerance_ms(50))


def test_a_lan_condition_shapes_the_download_of_every_member_but_nothing_between_them(world: LinkWorld) -> None:
    base_ms = typical_ms(world)
    world.apply("", down=LinkCondition(latency_ms=30))
    assert added_ms(world, base_ms, 30) == pytest.approx(30, abs=2 * tolerance_ms(30))
    assert typical_ms(world, "d1", to="d2") < (15 if SLOW else 3)


def test_a_lan_has_no_upload(world: LinkWorld) -> None:
    with pytest.raises(PatchbayError, match="lan has no upload"):
        world.apply("", up=LinkCondition(latency_ms=30))


def test_links_of_one_lan_add_up_between_their_devices(world: LinkWorld) -> None:
    base_ms = typical_ms(world, to="d1")
    world.apply("d0", up=LinkCondition(latency_ms=10))
    world.apply("d1", up=LinkCondition(latency_ms=40), down=LinkCondition(latency_ms=20))
    assert added_ms(world, base_ms, 70, to="d1") == pytest.approx(70, abs=2 * tolerance_ms(70))


def test_jitter_spreads_evenly_and_keeps_the_order(world: LinkWorld) -> None:
    world.apply(up=LinkCondition(latency_ms=20, jitter_ms=5))

    def spread_ms() -> float:
        trips = world.round_trips_ms("d0", 400)
        assert statistics.median(trips) > 19
        low, *_, high = statistics.quantiles(trips, n=20)
        return high - low

    def least_ms() -> float:
        return min(world.round_trips_ms("d0", 400))

    if SLOW:  # which holds up the later ones; the earliest show what was taken off the delay
        assert 15 < nearest(15, least_ms, 2) < 18
    else:
        assert nearest(9, spread_ms, 1.0) == pytest.approx(9, abs=1.0)
    train = world.train(500, gap_s=0.001)
    assert train.numbers == list(range(500))


@pytest.mark.parametrize("rate_kbit", RATES_KBIT)
def test_the_rate_of_datagrams_is_the_asked_one(world: LinkWorld, rate_kbit: float) -> None:
    world.apply(up=LinkCondition(rate_kbit=rate_kbit, buffer_ms=1_000 if SLOW else 200))
    count = max(60, min(4000, int(rate_kbit / 8 / FRAME * 300)))
    # Faster than the rate, which a slow processor is only where it need not keep time.
    gap_s = 0 if SLOW else FRAME * 8 / rate_kbit / 1e3 / 1.3
    found = nearest(
        rate_kbit,
        lambda: world.train(count, size=PAYLOAD, gap_s=gap_s).rate_kbit(FRAME),
        MORE * rate_kbit,
    )
    assert -LESS * rate_kbit <= found - rate_kbit <= MORE * rate_kbit


def test_a_full_queue_drops_and_says_how_full_it_was(world: LinkWorld) -> None:
    world.apply("d1", up=LinkCondition(rate_kbit=2_000, buffer_ms=100))
    train = world.train(200, size=PAYLOAD, source="d1")
    held = 2_000 / 8 * 100 / FRAME
    assert held - 2 < len(train.numbers) < held + 12
    counted = world.statistics()["d1.eth0"].up
    assert counted is not None
    assert counted.overflowed == 200 - len(train.numbers) == counted.dropped
    if ENGINE == "emulator":  # the kernel tells only what waits now
        assert counted.queue_peak_bytes == pytest.approx(held * FRAME, rel=0.15)


@pytest.mark.parametrize(("loss_pct", "direction"), [(0.5, "up"), (2, "up"), (10, "up"), (50, "up"), (10, "down")])
def test_loss_is_within_the_binomial_interval(world: LinkWorld, loss_pct: float, direction: str) -> None:
    count = 20_000
    world.apply("d2", **{direction: LinkCondition(loss_pct=loss_pct)})
    before = _lost(world, direction)
    ends = ("d2", "server") if direction == "up" else ("server", "d2")
    train = world.train(count, source=ends[0], to=ends[1], gap_s=0.00003)
    lost = sum(train.losses(count))
    spread = 3.89 * sqrt(count * loss_pct / 100 * (1 - loss_pct / 100))
    assert abs(lost - count * loss_pct / 100) <= spread
    assert _lost(world, direction) - before == pytest.approx(lost, abs=2)


def _lost(world: LinkWorld, direction: str) -> int:
    counted = getattr(world.statistics()["d2.eth0"], direction)
    assert counted.overrun == 0
    lost: int = counted.dropped
    return lost


def test_losses_come_in_bursts_of_the_asked_length(world: LinkWorld) -> None:
    count, length = 60_000, 4.0
    world.apply(up=LinkCondition(loss_pct=10, loss_burst=length))
    losses = world.train(count, gap_s=0.00003).losses(count)
    runs = [len(run) for run in "".join("x" if lost else " " for lost in losses).split()]
    assert len(runs) > 1000
    assert statistics.fmean(runs) == pytest.approx(length, rel=0.1)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_datagrams_handed_over_together_have_fates_of_their_own(world: LinkWorld, direction: str) -> None:
    count = 6_000
    world.apply(**{direction: LinkCondition(loss_pct=10)})
    ends = ("d0", "server") if direction == "up" else ("server", "d0")
    losses = world.train(count, size=1_200, gap_s=0.0002, together=10, source=ends[0], to=ends[1]).losses(count)
    assert abs(sum(losses) - count / 10) <= 3.89 * sqrt(count * 0.1 * 0.9)
    runs = [len(run) for run in "".join("x" if lost else " " for lost in losses).split()]
    assert statistics.fmean(runs) == pytest.approx(1 / 0.9, abs=0.15)


def test_reordered_datagrams_overtake(world: LinkWorld) -> None:
    world.apply(up=LinkCondition(latency_ms=20, reorder_pct=5))

    def overtaken() -> int:
        train = world.train(4000, gap_s=0.0005)
        assert sorted(train.numbers) == list(range(4000))
        least_to_come = list(accumulate(reversed(train.numbers), min))[-2::-1]
        return sum(number > least for number, least in zip(train.numbers, least_to_come, strict=False))

    assert nearest(200, overtaken, 70) == pytest.approx(200, abs=70)


def test_duplicated_datagrams_arrive_twice(world: LinkWorld) -> None:
    world.apply(up=LinkCondition(duplicate_pct=5))
    train = world.train(4000, gap_s=0.0001)
    assert set(train.numbers) == set(range(4000))
    assert len(train.numbers) - 4000 == pytest.approx(200, rel=0.35)


def test_corrupted_datagrams_are_damaged_and_refused_by_the_receiver(world: LinkWorld) -> None:
    world.apply("d1", up=LinkCondition(corrupt_pct=5))
    train = world.train(4000, size=400, source="d1", gap_s=0.0001)
    assert 4000 - len(train.numbers) == pytest.approx(200, rel=0.35)
    counted = world.statistics()["d1.eth0"].up
    assert counted is not None
    if ENGINE == "emulator":
        assert counted.corrupted == pytest.approx(200, rel=0.35)


def test_setting_and_lifting_a_condition_loses_and_doubles_nothing(world: LinkWorld) -> None:
    # netem's first condition of a link is the one that takes the kernel a moment without a qdisc.
    world.apply(up=LinkCondition(latency_ms=5), down=LinkCondition(latency_ms=5))

    def toggle() -> None:
        for turn in range(20):
            time.sleep(0.05)
            condition = LinkCondition(latency_ms=5) if turn % 2 == 0 else None
            world.apply(up=condition, down=condition)

    toggler = threading.Thread(target=toggle)
    toggler.start()
    train = world.train(3000, gap_s=0.0005)
    toggler.join()
    assert sorted(train.numbers) == list(range(3000))


@emulator_only
def test_a_clear_link_has_nothing_in_its_path(world: LinkWorld) -> None:
    world.apply(up=LinkCondition(latency_ms=5), down=LinkCondition(latency_ms=5))
    assert redirections(world) == [True, True]
    world.apply(up=LinkCondition(), down=None)
    assert redirections(world) == [False, False]
    before = world.statistics()["d0.eth0"]
    world.train(50)
    assert world.statistics()["d0.eth0"] == before


def redirections(world: LinkWorld) -> list[bool]:
    shown = (world.lab.run("router", ["tc", "filter", "show", "dev", "p0", hook]) for hook in ("ingress", "egress"))
    return [b"mirred" in done.stdout for done in shown]


@emulator_only
def test_a_forgotten_port_has_no_helpers_and_keeps_its_counters() -> None:
    with LinkWorld(1) as fresh:
        before = links_of_router(fresh)
        fresh.apply(up=LinkCondition(latency_ms=5), down=LinkCondition(loss_pct=50))
        came = links_of_router(fresh) - before
        assert {"em0", "em1", "em-sink0"} < came
        # What leaves by the near end of the way down is, to whoever captures, the port's.
        (port,) = {diverted_from(name) for name in came} - {None}
        assert {f"em0u{port}", f"em1d{port}"} == came - {"em0", "em1", "em-sink0"}
        fresh.train(100)
        counted = fresh.statistics()["d0.eth0"].up
        fresh.forget("d0")
        assert links_of_router(fresh) - before == {"em-sink0"}
        assert fresh.statistics()["d0.eth0"].up == counted
        fresh.apply(up=LinkCondition(latency_ms=5))
        fresh.train(100)
        after = fresh.statistics()["d0.eth0"].up
        assert counted is not None
        assert after is not None
        assert after.packets >= counted.packets + 100


def links_of_router(world: LinkWorld) -> set[str]:
    lines = world.lab.run("router", ["ip", "-br", "link"]).stdout.decode().splitlines()
    return {line.split()[0].partition("@")[0] for line in lines}


@emulator_only
def test_the_router_never_hears_a_broadcast_twice(world: LinkWorld) -> None:
    world.apply(up=LinkCondition(latency_ms=5), down=LinkCondition(latency_ms=5))
    with (
        world.lab.socket("router", "inet", "dgram") as receiver,
        world.lab.socket("d0", "inet", "dgram") as sender,
    ):
        receiver.bind(("", 9999))
        receiver.settimeout(2)
        sender.setsockopt(1, 6, 1)  # SO_BROADCAST
        sender.sendto(b"hello", ("255.255.255.255", 9999))
        assert receiver.recv(64) == b"hello"
        receiver.settimeout(0.2)
        with pytest.raises(TimeoutError):
            receiver.recv(64)


def test_a_stream_is_whole_after_every_impairment_at_once(world: LinkWorld) -> None:
    condition = LinkCondition(latency_ms=5, jitter_ms=2, loss_pct=1, reorder_pct=1, duplicate_pct=1, corrupt_pct=1)
    world.apply(up=condition, down=condition)
    data = bytes(range(256)) * 4096
    assert transfer(world, data) == data


@emulator_only
@pytest.mark.parametrize("condition", [LinkCondition(latency_ms=5), LinkCondition(latency_ms=5, loss_pct=0.5)])
def test_segments_are_cut_only_where_their_frames_part(world: LinkWorld, condition: LinkCondition) -> None:
    world.apply("d1", up=condition)
    assert largest_frame(world, "d1") > 8 * FRAME


@emulator_only
def test_frames_that_the_rate_parts_leave_one_by_one(world: LinkWorld) -> None:
    world.apply("d2", up=LinkCondition(latency_ms=5))
    world.apply("d2", up=LinkCondition(rate_kbit=50_000))
    before = world.statistics()["d2.eth0"].up
    assert largest_frame(world, "d2") < 2 * FRAME  # but for a last, short one that leaves in the same moment
    after = world.statistics()["d2.eth0"].up
    assert before is not None
    assert after is not None
    assert (1 << 20) / 1448 <= after.packets - before.packets < 2 * (1 << 20) / 1448


def largest_frame(world: LinkWorld, device: str) -> int:
    """The largest that arrives at the server in the course of an upload of a mebibyte."""
    data = random.Random(0).randbytes(1 << 20)
    with world.lab.socket("server", "packet", "raw", socket.htons(3)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        assert transfer(world, data, device) == data
        return max(sizes_at(tap))


def sizes_at(tap: socket.socket) -> list[int]:
    """Of the frames that a packet socket has got."""
    tap.setblocking(False)
    sizes = []
    with suppress(BlockingIOError):
        while True:
            sizes.append(tap.recv_into(bytearray(1), 1, socket.MSG_TRUNC))
    return sizes


@emulator_only
@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_datagrams_that_were_sent_as_one_segment_are_lost_one_by_one(world: LinkWorld, family: str) -> None:
    """A program may send many datagrams in one call (UDP_SEGMENT, as QUIC does); the network knows nothing of it."""
    world.apply(up=LinkCondition(latency_ms=5, loss_pct=20))
    kind: Any = "inet6" if family == "ip_v6" else "inet"
    sent = [b"%04d" % number * 300 for number in range(1000)]
    with (
        world.lab.socket("server", kind, "dgram") as receiver,
        world.lab.socket("d0", kind, "dgram") as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        receiver.bind((world.address("server", family), 0))
        receiver.settimeout(1)
        sender.setsockopt(socket.IPPROTO_UDP, 103, 1200)  # UDP_SEGMENT
        sender.connect(receiver.getsockname())
        for first in range(0, 1000, 25):
            sender.send(b"".join(sent[first : first + 25]))
            time.sleep(0.001)
        found = []
        with suppress(TimeoutError):
            while True:
                found.append(receiver.recv(2000))
    assert 640 < len(found) < 950
    positions = [sent.index(each) for each in found]
    assert positions == sorted(set(positions))


@emulator_only
@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_many_datagrams_a_moment_arrive_as_they_were_sent(world: LinkWorld, family: str) -> None:
    """The relay joins them on their way, which nobody must notice."""
    world.apply(up=LinkCondition(latency_ms=30))
    kind: Any = "inet6" if family == "ip_v6" else "inet"
    sizes = [1400] * 40 + [60, 1400, 1400, 1400, 0, 7, 7, 7, 7]
    sent = [bytes([number % 251]) * size for number, size in enumerate(sizes * 4)]
    with (
        world.lab.socket("server", kind, "dgram") as receiver,
        world.lab.socket("d0", kind, "dgram") as sender,
        world.lab.socket("server", "packet", "raw", socket.htons(3)) as tap,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        receiver.bind((world.address("server", family), 0))
        receiver.settimeout(1)
        sender.connect(receiver.getsockname())
        for each in sent:
            sender.send(each)
        assert [receiver.recv(2000) for _ in sent] == sent
        assert max(sizes_at(tap)) > 2 * FRAME


def transfer(world: LinkWorld, data: bytes, device: str = "d0") -> bytes:
    """Sends `data` from the device to the server by TCP."""
    with world.lab.socket("server") as listener:
        listener.bind((world.address("server"), 0))
        listener.listen()
        listener.settimeout(10)

        def send() -> None:
            with world.lab.socket(device) as sender:
                sender.connect(listener.getsockname())
                sender.sendall(data)

        thread = threading.Thread(target=send)
        thread.start()
        connection, _ = listener.accept()
        connection.settimeout(30)
        received = bytearray()
        with connection:
            while chunk := connection.recv(1 << 20):
                received += chunk
        thread.join()
        return bytes(received)


@emulator_only
def test_an_emulator_without_the_processor_is_a_verdict_not_a_slower_link() -> None:
    with LinkWorld(1) as fresh:
        fresh.apply(up=LinkCondition(latency_ms=5))
        sender = threading.Thread(target=fresh.train, args=(500,), kwargs={"gap_s": 0.002})
        sender.start()
        time.sleep(0.2)
        for _ in range(5):
            fresh.stall(0.1)
        sender.join()
        after = fresh.statistics()["d0.eth0"].up
        assert after is not None
        assert after.late_max_ms > 50
        assert after.overloaded


@emulator_only
def test_an_emulator_that_has_ended_is_an_error() -> None:
    with LinkWorld(1) as fresh:
        fresh.apply(up=LinkCondition(latency_ms=5))
        fresh.stall(0)
        with pytest.raises(PatchbayError, match="link emulator"):
            fresh.statistics()
