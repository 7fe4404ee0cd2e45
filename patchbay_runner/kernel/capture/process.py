"""The process that captures a whole lab's packets, forked from the agent, and its parent's handle.

Messages are whole datagrams of a Unix socket pair.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import NoReturn

import msgspec

from patchbay_runner.errors import CapturerDied, HostError, KernelError
from patchbay_runner.kernel.capture.ring import BLOCK_TIMEOUT_MS, Ring, open_socket
from patchbay_runner.kernel.capture.tap import Tap
from patchbay_runner.kernel.capture.writer import InterfaceCounts, Keeper
from patchbay_runner.kernel.forked import leave_parent, silence_standard_streams

_MESSAGE_BYTES = 1 << 17
_ANSWER_TIMEOUT_S = 30.0
# The kernel hands over what it holds after BLOCK_TIMEOUT_MS, later when it is busy.
_SETTLING_S = 1.0
_HIGHEST_FD = 1 << 20
# All rings of a lab together, and the ring of a node: what a node may be sent while this process waits for its turn.
_ALL_RINGS_BYTES = 64 << 20
_LEAST_RING_BYTES, _MOST_RING_BYTES = 1 << 20, 8 << 20
_COUNTS_PER_MESSAGE = 100
_NICENESS = 10


class NodeTap(msgspec.Struct, frozen=True):
    """A node to capture: its namespace by descriptor, the indices that are left out, and the interfaces that it has."""

    node: str
    netns: int
    ports: range
    interfaces: tuple[str, ...]


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Write what has come by now."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The same, and end."""


class Done(msgspec.Struct, frozen=True, tag=True):
    pass


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A part of the counts; `dropped` comes with the last, by node."""

    interfaces: tuple[InterfaceCounts, ...]
    dropped: dict[str, int] | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It has ended: the host refused to keep the files, or, with a traceback, by a defect."""

    problem: str
    traceback: str = ""


class CaptureReport(msgspec.Struct, frozen=True):
    """What was captured, by interface; how many packets were missed, by node, of those that missed some."""

    interfaces: tuple[InterfaceCounts, ...]
    dropped: dict[str, int]


_encoder = msgspec.msgpack.Encoder()
_command_decoder = msgspec.msgpack.Decoder[Settle | Finish](Settle | Finish)
_answer_decoder = msgspec.msgpack.Decoder[Done | Counted | Failed](Done | Counted | Failed)


class Capturer:
    """A running capture. `fileno` is readable when it has ended by itself.

    Every method raises CapturerDied, or HostError when the files could not be kept.
    """

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._channel = channel

    @classmethod
    def start(cls, nodes: Sequence[NodeTap], keeper: Keeper) -> Capturer:
        """Captures from now on. Raises KernelError. The caller must be single-threaded."""
        ring_bytes = min(_MOST_RING_BYTES, max(_LEAST_RING_BYTES, _ALL_RINGS_BYTES // max(1, len(nodes))))
        with ExitStack() as stack:
            sockets = [
                stack.enter_context(
                    open_socket(each.netns, each.ports, keeper.options.snap_length, ring_bytes, each.node)
                )
                for each in nodes
            ]
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(theirs)
            parent = os.getpid()
            try:
                pid = os.fork()
            except OSError as error:
                ours.close()
                raise KernelError("fork the process that captures", error.errno or 0) from error
            if pid == 0:
                rings = list(zip(nodes, sockets, strict=True))
                _become_capturer(theirs, rings, parent, ring_bytes, keeper)
        ours.settimeout(_ANSWER_TIMEOUT_S)
        return cls(pid, ours)

    def fileno(self) -> int:
        return self._channel.fileno()

    def settle(self) -> None:
        """Returns when everything that has passed an interface by now is in its file."""
        self._send(Settle())
        self._receive()

    def finish(self) -> CaptureReport:
        """Ends it; the files are whole."""
        self._send(Finish())
        found: list[InterfaceCounts] = []
        while True:
            answer = self._receive()
            if isinstance(answer, Counted):
                found += answer.interfaces
                if answer.dropped is not None:
                    return CaptureReport(tuple(found), answer.dropped)

    def check(self) -> None:
        """Raises what has ended it, if something has."""
        readable, _, _ = select.select([self._channel], [], [], 0)
        if readable:
            self._receive()

    def close(self) -> None:
        """Ends the process; without `finish` the last moments are lost."""
        self._channel.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _send(self, command: Settle | Finish) -> None:
        with suppress(BrokenPipeError):  # its last words may wait to be read
            self._channel.send(_encoder.encode(command))

    def _receive(self) -> Done | Counted:
        try:
            received = self._channel.recv(_MESSAGE_BYTES)
        except OSError as error:
            raise CapturerDied(f"the packet capture does not answer: {error}") from error
        if not received:
            raise CapturerDied("the packet capture has ended")
        answer: Done | Counted | Failed = _answer_decoder.decode(received)
        if isinstance(answer, Failed):
            raise (
                CapturerDied(f"{answer.problem}\n{answer.traceback}") if answer.traceback else HostError(answer.problem)
            )
        return answer


def _become_capturer(
    channel: socket.socket, rings: Sequence[tuple[NodeTap, socket.socket]], parent: int, ring_bytes: int, keeper: Keeper
) -> NoReturn:
    """The child, from its fork to its end. It shares nothing with the parent but the channel and the sockets."""
    try:
        _leave_parent([channel, *(sock for _, sock in rings)], parent)
        taps = [Tap(each.node, Ring(sock, ring_bytes), each.ports, each.interfaces, keeper) for each, sock in rings]
        _serve(channel, taps)
    except HostError as error:
        channel.send(_encoder.encode(Failed(str(error))))
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, the parent must learn it
        text = traceback.format_exc()[-_MESSAGE_BYTES // 4 :]
        channel.send(_encoder.encode(Failed("the packet capture has failed:", text)))
    finally:
        os._exit(0)


def _leave_parent(kept: Iterable[socket.socket], parent: int) -> None:
    """Leaves behind what the fork has copied: descriptors that others wait to see closed, and signal handlers."""
    leave_parent(parent)
    silence_standard_streams()
    first = 3
    for fd in sorted(sock.fileno() for sock in kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _HIGHEST_FD)
    # It takes what the programs of the sim leave of the processor; the rings hold what comes meanwhile.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    os.nice(_NICENESS)
    gc.freeze()


def _serve(channel: socket.socket, taps: Sequence[Tap]) -> None:
    poller = select.epoll()
    poller.register(channel, select.EPOLLIN)
    by_fd = {tap.ring.socket.fileno(): tap for tap in taps}
    for fd in by_fd:
        poller.register(fd, select.EPOLLIN)
    while True:
        for fd, _ in poller.poll():
            if fd in by_fd:
                by_fd[fd].read()
                continue
            received = channel.recv(_MESSAGE_BYTES)
            if not received:
                return
            _drain(taps)
            if isinstance(_command_decoder.decode(received), Finish):
                _finish(channel, taps)
                return
            channel.send(_encoder.encode(Done()))


def _drain(taps: Iterable[Tap]) -> None:
    """Reads until the kernel holds nothing that came before."""
    deadline_s = time.monotonic() + _SETTLING_S
    left = list(taps)
    while left and time.monotonic() < deadline_s:
        for tap in left:
            tap.read()
        left = [tap for tap in left if not tap.ring.is_empty]
        if left:
            time.sleep(BLOCK_TIMEOUT_MS / 4000)


def _finish(channel: socket.socket, taps: Iterable[Tap]) -> None:
    dropped = {}
    for tap in taps:
        tap.finish()
        counts = tap.counts()
        for first in range(0, len(counts), _COUNTS_PER_MESSAGE):
            channel.send(_encoder.encode(Counted(tuple(counts[first : first + _COUNTS_PER_MESSAGE]))))
        if tap.ring.dropped:
            dropped[tap.node] = tap.ring.dropped
    channel.send(_encoder.encode(Counted((), dropped)))
