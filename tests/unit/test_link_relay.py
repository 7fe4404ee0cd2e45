"""The relay loop and its process, with UDP sockets of the loopback in the place of packet sockets."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from patchbay_runner.errors import EmulatorDied
from patchbay_runner.kernel.links.frames import BATCH, SLOT_SIZE, Receiver, Sender, SlotPool
from patchbay_runner.kernel.links.line import Line
from patchbay_runner.kernel.links.relay import Relay, RelayedLine
from patchbay_runner.kernel.links.segments import VNET_HEADER_SIZE
from patchbay_runner.kernel.links.shard import Shard
from patchbay_runner.kernel.links.timer import Timer
from patchbay_runner.model.links import LinkCondition

BODY = bytes(VNET_HEADER_SIZE + 14)


class Wire:
    """What goes into `inlet` a relay reads; what it sends comes out of `outlet`."""

    def __init__(self) -> None:
        self.receiving, self.outlet = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.inlet, self.sending = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for end, target in ((self.inlet, self.receiving), (self.sending, self.outlet)):
            target.bind(("127.0.0.1", 0))
            target.setblocking(False)
            end.connect(target.getsockname())
        self.receiving.setsockopt(socket.SOL_SOCKET, 64, 1)  # SO_TIMESTAMPNS

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.inlet.send(BODY + number.to_bytes(4, "big"))

    def taken(self) -> list[int]:
        found = []
        while True:
            try:
                found.append(int.from_bytes(self.outlet.recv(100)[-4:], "big"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        for sock in (self.receiving, self.outlet, self.inlet, self.sending):
            sock.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def attached(relay: Relay, wire: Wire, **condition: float) -> RelayedLine:
    return relay.attach(Line(LinkCondition(**condition)), wire.receiving, wire.sending)


def run(relay: Relay, seconds: float) -> None:
    """Turns the loop for a time, with a pipe that ends the waiting of the last turn."""
    end_s = time.monotonic() + seconds
    interval_ns = 0
    read_end, write_end = os.pipe()
    relay.add_channel(read_end)
    os.write(write_end, b"x")
    while time.monotonic() < end_s:
        commanded, interval_ns = relay.turn(interval_ns)
        assert commanded
    os.close(read_end)
    os.close(write_end)


def test_frames_leave_after_their_latency_and_not_before(wire: Wire) -> None:
    relay = Relay()
    relayed = attached(relay, wire, latency_ms=60)
    wire.put(*range(10))
    run(relay, 0.04)
    assert wire.taken() == []
    assert relayed.in_flight == 10
    run(relay, 0.05)
    assert wire.taken() == list(range(10))
    assert relayed.in_flight == 0
    assert relayed.lateness.summary().frames == 10


def test_more_than_a_batch_leaves_in_order(wire: Wire) -> None:
    relay = Relay()
    attached(relay, wire, latency_ms=20)
    count = 2 * BATCH + 5
    wire.put(*range(count))
    run(relay, 0.06)
    assert wire.taken() == list(range(count))


def test_lines_do_not_wait_for_each_other(wire: Wire) -> None:
    other = Wire()
    with ExitStack() as stack:
        stack.callback(other.close)
        relay = Relay()
        attached(relay, wire, latency_ms=500)
        attached(relay, other, latency_ms=10)
        wire.put(1)
        other.put(2)
        run(relay, 0.05)
        assert (wire.taken(), other.taken()) == ([], [2])


def test_early_and_duplicated_frames_take_their_own_way(wire: Wire) -> None:
    relay = Relay()
    attached(relay, wire, latency_ms=400, reorder_pct=100, duplicate_pct=100)
    wire.put(1, 2)
    run(relay, 0.05)
    assert wire.taken() == [1, 1, 2, 2]


def test_damage_is_one_bit_behind_the_header(wire: Wire) -> None:
    relay = Relay()
    attached(relay, wire, corrupt_pct=100)
    wire.put(0)
    run(relay, 0.02)
    (found,) = wire.taken()
    assert found.bit_count() == 1


def test_an_ended_line_lets_go_of_what_it_holds_in_order(wire: Wire) -> None:
    relay = Relay()
    relayed = attached(relay, wire, latency_ms=10_000)
    wire.put(*range(BATCH + 1))
    run(relay, 0.01)
    wire.put(BATCH + 1)
    with pytest.raises(OSError, match=r"Protocol not available|Operation not supported"):
        relay.detach(relayed)  # UDP sockets have no counters of packet sockets
    assert wire.taken() == list(range(BATCH + 2))


def test_slots_are_reused_and_apart() -> None:
    pool = SlotPool()
    first = pool.take(3)
    assert {abs(a - b) >= SLOT_SIZE for a in first for b in first if a != b} == {True}
    pool.free += first
    assert sorted(pool.take(3)) == sorted(first)
    assert len(set(pool.take(1000))) == 1000


def test_a_closed_way_out_counts_every_frame_as_refused(wire: Wire) -> None:
    pool = SlotPool()
    receiver, sender = Receiver(pool), Sender()
    wire.put(1, 2, 3)
    frames = receiver.receive(wire.receiving.fileno())
    assert len(frames) == 3
    slots, lengths = [frame[1] for frame in frames], [frame[2] for frame in frames]
    unconnected = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    assert sender.send(unconnected.fileno(), slots, lengths) == [0, 1, 2]
    unconnected.close()
    assert sender.send(wire.sending.fileno(), slots, lengths) == []
    assert wire.taken() == [1, 2, 3]


def test_receive_times_are_the_kernels(wire: Wire) -> None:
    receiver = Receiver(SlotPool())
    wire.put(1)
    time.sleep(0.05)
    ((arrival_ns, _, length, to_group),) = receiver.receive(wire.receiving.fileno())
    assert 0.05 <= (time.monotonic_ns() - arrival_ns) / 1e9 < 1
    assert (length, to_group) == (len(BODY) + 4, False)
    assert receiver.receive(wire.receiving.fileno()) == []


def test_the_timer_fires_once_it_is_time_and_is_silenced_by_zero() -> None:
    timer = Timer()
    poller = select.poll()
    poller.register(timer.fileno(), select.POLLIN)
    set_ns = time.monotonic_ns()
    timer.set(set_ns + 20_000_000)
    assert poller.poll(1000)
    assert time.monotonic_ns() - set_ns >= 20_000_000
    timer.set(0)
    assert not poller.poll(0)
    timer.close()


def test_a_relay_in_its_own_process_relays_and_changes(wire: Wire) -> None:
    shard = Shard()
    try:
        shard.attach(0, "a", 1, LinkCondition(latency_ms=10_000), (wire.receiving, wire.sending))
        shard.change(0, LinkCondition())
        wire.put(1, 2)
        wire.outlet.settimeout(5)
        assert [wire.outlet.recv(100)[-1] for _ in range(2)] == [1, 2]
    finally:
        shard.close()


def test_a_defect_in_the_relay_comes_back_as_an_error() -> None:
    shard = Shard()
    try:
        with pytest.raises(EmulatorDied, match="KeyError"):
            shard.change(7, LinkCondition())
        with pytest.raises(EmulatorDied, match="link emulator"):
            shard.change(7, LinkCondition())
    finally:
        shard.close()


def test_the_process_keeps_none_of_its_parents_descriptors_open() -> None:
    read_end, write_end = os.pipe()
    shard = Shard()
    try:
        os.close(write_end)
        readable, _, _ = select.select([read_end], [], [], 5)
        assert readable
        assert os.read(read_end, 1) == b""
        assert Path(f"/proc/{shard.pid}/status").exists()
    finally:
        shard.close()
        os.close(read_end)
