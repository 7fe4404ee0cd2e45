"""The relay loop: frames from packet sockets into lines, and out again when their time has come.

Departures are absolute, from the kernel's receive time, so that reading late costs nothing as long as a frame is read
before it has to leave. While there is traffic the loop therefore reads at intervals, many frames at once, and never
waits longer than the next departure.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from heapq import heappop, heappush
from time import monotonic_ns

import msgspec

from patchbay_runner.kernel.links.chance import CORRUPT, DUPLICATE, EARLY
from patchbay_runner.kernel.links.frames import (
    BATCH,
    VNET_HEADER_SIZE,
    Receiver,
    Sender,
    SlotPool,
    copy_frame,
    dropped_by_kernel,
    flip_bit,
)
from patchbay_runner.kernel.links.lateness import Lateness, LatenessHistogram
from patchbay_runner.kernel.links.line import DROPPED, Line, LineCounters
from patchbay_runner.kernel.links.timer import Timer

# Frames that leave within this time of each other leave together, the later ones early.
_GRAIN_NS = 100_000
# What passes between a timer's time and the frame on the wire on an idle machine: aimed before by as much.
_LEAD_NS = 60_000
_LEAST_READING_INTERVAL_NS, _MOST_READING_INTERVAL_NS = 100_000, 500_000
# A line's share of memory: each frame holds at least a page.
MOST_IN_FLIGHT = 65_536


class RelayCounters(msgspec.Struct, frozen=True):
    """A line as it stands. `overrun` frames were lost to a relay that was not given the processor in time, `refused`
    ones to an interface that was down or to a protocol that cannot be relayed whole; neither was asked for."""

    line: LineCounters = LineCounters()
    lateness: Lateness = Lateness()
    overrun: int = 0
    refused: int = 0


class Relay:
    """Relays any number of lines until it is told to stop. Single-threaded; `add_reader` brings commands in."""

    def __init__(self) -> None:
        self._pool = SlotPool()
        self._receiver = Receiver(self._pool)
        self._sender = Sender()
        self._timer = Timer()
        self._everything = select.epoll()
        self._commands_and_time = select.epoll()
        self._channel = -1
        for poller in (self._everything, self._commands_and_time):
            poller.register(self._timer.fileno(), select.EPOLLIN)
        self._by_fd: dict[int, RelayedLine] = {}
        self._due: list[tuple[int, int, _Lane]] = []
        self._lanes_made = 0

    def add_channel(self, fd: int) -> None:
        """`turn` says when `fd` is readable."""
        self._channel = fd
        for poller in (self._everything, self._commands_and_time):
            poller.register(fd, select.EPOLLIN)

    def attach(self, line: Line, receiving: socket.socket, sending: socket.socket) -> RelayedLine:
        """Begins to relay; the sockets are the relay's to close."""
        relayed = RelayedLine(line, receiving, sending, self._lanes_made)
        self._lanes_made += 2
        self._by_fd[receiving.fileno()] = relayed
        self._everything.register(receiving.fileno(), select.EPOLLIN)
        return relayed

    def detach(self, relayed: RelayedLine) -> RelayCounters:
        """Ends a line and returns its last counters. The kernel takes its time to close a packet socket."""
        self.pause(relayed)
        fd = relayed.receiving.fileno()
        self._everything.unregister(fd)
        del self._by_fd[fd]
        counters = relayed.counters()
        relayed.receiving.close()
        relayed.sending.close()
        return counters

    def pause(self, relayed: RelayedLine) -> None:
        """Awaits no more frames, until the line's condition is changed and `is_idle` unset.

        What the line holds leaves at once, in order, so that no frame is lost by lifting a condition.
        """
        relayed.is_idle = True
        while self._read(relayed):
            pass
        for lane in (relayed.early, relayed.delayed):
            while lane.queue:
                self._send_from(lane, lane.queue[-1][0])

    def turn(self, reading_interval_ns: int) -> tuple[bool, int]:
        """Waits for something to do and does it: whether the channel is readable, and the next reading interval."""
        channel = False
        if reading_interval_ns:
            self._arm(monotonic_ns() + reading_interval_ns)
            events = self._commands_and_time.poll()
            channel = any(fd == self._channel for fd, _ in events)
            self._send_due(monotonic_ns())
            events = self._everything.poll(0)
        else:
            self._arm(0)
            events = self._everything.poll()
        read = 0
        for fd, _ in events:
            relayed = self._by_fd.get(fd)
            if relayed is not None:
                read += self._read(relayed)
                self._send_due(monotonic_ns())
        self._send_due(monotonic_ns())
        channel = channel or any(fd == self._channel for fd, _ in events)
        return channel, self._reading_interval_ns() if read else 0

    def _reading_interval_ns(self) -> int:
        busy = (relayed.line.latency_ns for relayed in self._by_fd.values() if not relayed.is_idle)
        least_latency_ns = min(busy, default=0)
        return max(_LEAST_READING_INTERVAL_NS, min(least_latency_ns // 4, _MOST_READING_INTERVAL_NS))

    def _arm(self, at_ns: int) -> None:
        if self._due:
            departure_ns = max(1, self._due[0][0] - _LEAD_NS)
            at_ns = min(at_ns, departure_ns) if at_ns else departure_ns
        self._timer.set(at_ns)

    def _read(self, relayed: RelayedLine) -> int:
        frames = self._receiver.receive(relayed.receiving.fileno())
        if self._receiver.unreadable:
            relayed.refused += self._receiver.unreadable
            self._receiver.unreadable = 0
        admit, delayed, free = relayed.line.admit, relayed.delayed, self._pool.free
        for arrival_ns, slot, length, to_group in frames:
            departure_ns, flags = admit(arrival_ns, length - VNET_HEADER_SIZE, to_group)
            if departure_ns == DROPPED:
                free.append(slot)
            elif relayed.in_flight >= MOST_IN_FLIGHT:
                relayed.line.refuse()
                free.append(slot)
            elif flags:
                self._admit_flagged(relayed, departure_ns, slot, length, flags)
            else:
                relayed.in_flight += 1
                delayed.queue.append((departure_ns, slot, length))
        self._schedule(delayed)
        self._schedule(relayed.early)
        return len(frames)

    def _admit_flagged(self, relayed: RelayedLine, departure_ns: int, slot: int, length: int, flags: int) -> None:
        if flags & CORRUPT:
            flip_bit(slot, length, relayed.line.draw_bit())
        queue = (relayed.early if flags & EARLY else relayed.delayed).queue
        queue.append((departure_ns, slot, length))
        relayed.in_flight += 1
        if flags & DUPLICATE:
            (twin,) = self._pool.take(1)
            copy_frame(slot, twin, length)
            queue.append((departure_ns, twin, length))
            relayed.in_flight += 1

    def _schedule(self, lane: _Lane) -> None:
        if lane.queue and not lane.scheduled:
            lane.scheduled = True
            heappush(self._due, (lane.queue[0][0], lane.number, lane))

    def _send_due(self, now_ns: int) -> None:
        due = self._due
        until_ns = now_ns + _GRAIN_NS
        while due and due[0][0] <= now_ns + _LEAD_NS:
            lane = heappop(due)[2]
            self._send_from(lane, until_ns)
            lane.scheduled = False
            self._schedule(lane)

    def _send_from(self, lane: _Lane, until_ns: int) -> None:
        queue, relayed = lane.queue, lane.relayed
        departures: list[int] = []
        slots: list[int] = []
        lengths: list[int] = []
        while queue and queue[0][0] <= until_ns and len(slots) < BATCH:
            departure_ns, slot, length = queue.popleft()
            departures.append(departure_ns)
            slots.append(slot)
            lengths.append(length)
        relayed.refused += self._sender.send(relayed.sending.fileno(), slots, lengths)
        relayed.in_flight -= len(slots)
        self._pool.free += slots
        left_ns = monotonic_ns()
        add = relayed.lateness.add
        for departure_ns in departures:
            add(left_ns - departure_ns)


class RelayedLine:
    """A line with its sockets and the frames that are under way."""

    __slots__ = (
        "_overrun",
        "delayed",
        "early",
        "in_flight",
        "is_idle",
        "lateness",
        "line",
        "receiving",
        "refused",
        "sending",
    )

    def __init__(self, line: Line, receiving: socket.socket, sending: socket.socket, number: int) -> None:
        self.line = line
        self.receiving = receiving
        self.sending = sending
        self.delayed = _Lane(self, number)
        self.early = _Lane(self, number + 1)
        self.lateness = LatenessHistogram()
        self.in_flight = self.refused = self._overrun = 0
        self.is_idle = False

    def counters(self) -> RelayCounters:
        self._overrun += dropped_by_kernel(self.receiving)
        return RelayCounters(self.line.counters(), self.lateness.summary(), self._overrun, self.refused)


class _Lane:
    """Frames of one line in the order in which they leave."""

    __slots__ = ("number", "queue", "relayed", "scheduled")

    def __init__(self, relayed: RelayedLine, number: int) -> None:
        self.relayed = relayed
        self.number = number
        self.queue: deque[tuple[int, int, int]] = deque()
        self.scheduled = False
