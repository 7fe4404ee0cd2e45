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
from patchbay_runner.kernel.links.cutting import Cutter
from patchbay_runner.kernel.links.frames import BATCH, Receiver, Sender, SlotPool, dropped_by_kernel
from patchbay_runner.kernel.links.lateness import Lateness, LatenessHistogram
from patchbay_runner.kernel.links.line import DROPPED, Line, LineCounters
from patchbay_runner.kernel.links.offloads import segments_of_datagrams
from patchbay_runner.kernel.links.segments import VNET_HEADER_SIZE, Segment, runs
from patchbay_runner.kernel.links.timer import Timer

# Frames that leave within this time of each other leave together, the later ones early.
_GRAIN_NS = 100_000
# What passes between a timer's time and the frame on the wire on an idle machine: aimed before by as much.
_LEAD_NS = 60_000
_LEAST_READING_INTERVAL_NS, _MOST_READING_INTERVAL_NS = 100_000, 500_000
# So many frames that leave together are worth joining.
_JOINED_FROM = 4
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
        self._cutter = Cutter(self._pool)
        self._joins = segments_of_datagrams()
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

    def lose(self, relayed: RelayedLine) -> None:
        """Loses what the line holds, as a cable does that is cut. It goes on with what comes later."""
        while self._read(relayed):
            pass
        for lane in (relayed.early, relayed.delayed):
            self._pool.free += [slot for _, slot, _ in lane.queue]
            relayed.refused += len(lane.queue)
            relayed.in_flight -= len(lane.queue)
            lane.queue.clear()

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
        admit, queue, free = relayed.line.admit, relayed.delayed.queue, self._pool.free
        segment_in = self._cutter.segment
        for arrival_ns, slot, length, to_group in frames:
            if (segment := segment_in(slot, length)) is not None:
                self._admit_segment(relayed, arrival_ns, slot, length, segment)
                continue
            departure_ns, flags = admit(arrival_ns, length - VNET_HEADER_SIZE, to_group)
            if departure_ns == DROPPED:
                free.append(slot)
            elif flags or relayed.in_flight >= MOST_IN_FLIGHT:
                self._queue(relayed, departure_ns, slot, length, flags)
            else:
                relayed.in_flight += 1
                queue.append((departure_ns, slot, length))
        self._schedule(relayed.delayed)
        self._schedule(relayed.early)
        return len(frames)

    def _admit_segment(self, relayed: RelayedLine, arrival_ns: int, slot: int, length: int, segment: Segment) -> None:
        """Each frame of it meets its own fate; those that leave together stay together."""
        line, frames = relayed.line, segment.frames
        if line.is_plain:
            frame_bytes = frames * segment.headers + segment.payload
            self._queue(relayed, line.admit_all(arrival_ns, frames, frame_bytes), slot, length)
            return
        fates = [line.admit(arrival_ns, segment.headers + segment.length(number)) for number in range(frames)]
        for first, count, departure_ns, flags in runs(fates, _GRAIN_NS):
            if count == frames:
                self._queue(relayed, departure_ns, slot, length)
                return
            piece, piece_length = self._cutter.cut(slot, segment, first, count)
            self._queue(relayed, departure_ns, piece, piece_length, flags)
        self._pool.free.append(slot)

    def _queue(self, relayed: RelayedLine, departure_ns: int, slot: int, length: int, flags: int = 0) -> None:
        if relayed.in_flight >= MOST_IN_FLIGHT:
            relayed.line.refuse()
            self._pool.free.append(slot)
            return
        if flags & CORRUPT:
            self._cutter.damage(slot, length, relayed.line.draw_bit())
        queue = (relayed.early if flags & EARLY else relayed.delayed).queue
        queue.append((departure_ns, slot, length))
        relayed.in_flight += 1
        if flags & DUPLICATE:
            queue.append((departure_ns, self._cutter.copy(slot, length), length))
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
        self._send(relayed, slots, lengths)
        relayed.in_flight -= len(slots)
        self._pool.free += slots
        left_ns = monotonic_ns()
        add = relayed.lateness.add
        for departure_ns in departures:
            add(left_ns - departure_ns)

    def _send(self, relayed: RelayedLine, slots: list[int], lengths: list[int]) -> None:
        fd = relayed.sending.fileno()
        if not self._joins or len(slots) < _JOINED_FROM:
            relayed.refused += len(self._sender.send(fd, slots, lengths))
            return
        joined, joined_lengths, frames = self._cutter.join(slots, lengths)
        refused = self._sender.send(fd, joined, joined_lengths)
        relayed.refused += sum(frames[position] for position in refused)
        self._pool.free += [slot for slot, count in zip(joined, frames, strict=True) if count > 1]


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
