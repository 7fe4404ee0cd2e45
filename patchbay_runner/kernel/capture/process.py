"""The process that captures a whole lab's packets, forked from the agent, and its parent's handle."""

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
from patchbay_runner.kernel.capture.messages import (
    MESSAGE_BYTES,
    Answer,
    Command,
    Counted,
    Done,
    Failed,
    Finish,
    Leave,
    Settle,
    Watch,
    answer_decoder,
    command_decoder,
    encoder,
)
from patchbay_runner.kernel.capture.ring import BLOCK_TIMEOUT_MS, Ring, open_socket
from patchbay_runner.kernel.capture.tap import Tap
from patchbay_runner.kernel.capture.writer import InterfaceCounts, Keeper
from patchbay_runner.kernel.forked import leave_parent, silence_standard_streams

_ANSWER_TIMEOUT_S = 30.0
# The kernel hands over what it holds after BLOCK_TIMEOUT_MS, later when it is busy.
_SETTLING_S = 1.0
_HIGHEST_FD = 1 << 20
# All rings of a lab together, and the ring of a node: what a node may be sent while this process waits for its turn.
# A node that comes later gets a part of what is left.
_ALL_RINGS_BYTES = 64 << 20
_LEAST_RING_BYTES, _MOST_RING_BYTES = 1 << 20, 8 << 20
_LATER_SHARE = 8
_COUNTS_PER_MESSAGE = 100
_NICENESS = 10


class NodeTap(msgspec.Struct, frozen=True):
    """A node to capture: its namespace by descriptor, the indices that are left out, and the interfaces that it has."""

    node: str
    netns: int
    ports: range
    interfaces: tuple[str, ...]


class CaptureReport(msgspec.Struct, frozen=True):
    """What was captured, by interface; how many packets were missed, by node, of those that missed some."""

    interfaces: tuple[InterfaceCounts, ...]
    dropped: dict[str, int]


class Capturer:
    """A running capture. `fileno` is readable when it has ended by itself.

    Every method raises CapturerDied, or HostError when the files could not be kept.
    """

    def __init__(self, pid: int, channel: socket.socket, ring_bytes: dict[str, int], snap_length: int) -> None:
        self.pid = pid
        self._channel = channel
        self._ring_bytes = ring_bytes
        self._snap_length = snap_length

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
        return cls(pid, ours, {each.node: ring_bytes for each in nodes}, keeper.options.snap_length)

    def fileno(self) -> int:
        return self._channel.fileno()

    def watch(self, node: NodeTap) -> None:
        """Captures a further node from now on. Raises KernelError too."""
        left = _ALL_RINGS_BYTES - sum(self._ring_bytes.values())
        ring_bytes = min(_MOST_RING_BYTES, max(_LEAST_RING_BYTES, left // _LATER_SHARE))
        command = Watch(node.node, (node.ports.start, node.ports.stop), node.interfaces, ring_bytes)
        with open_socket(node.netns, node.ports, self._snap_length, ring_bytes, node.node) as sock:
            self._send(command, sock.fileno())
            self._receive()
        self._ring_bytes[node.node] = ring_bytes

    def leave(self, node: str) -> None:
        """Returns when what has passed a node is in its files, and nothing of the node is held any more."""
        self._send(Leave(node))
        self._receive()
        del self._ring_bytes[node]

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

    def _send(self, command: Command, *fds: int) -> None:
        with suppress(BrokenPipeError):  # its last words may wait to be read
            socket.send_fds(self._channel, [encoder.encode(command)], fds)

    def _receive(self) -> Done | Counted:
        try:
            received = self._channel.recv(MESSAGE_BYTES)
        except OSError as error:
            raise CapturerDied(f"the packet capture does not answer: {error}") from error
        if not received:
            raise CapturerDied("the packet capture has ended")
        answer: Answer = answer_decoder.decode(received)
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
        server = _Server(channel, keeper)
        for each, sock in rings:
            server.watch(each.node, Ring(sock, ring_bytes), each.ports, each.interfaces)
        server.serve()
    except HostError as error:
        channel.send(encoder.encode(Failed(str(error))))
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, the parent must learn it
        text = traceback.format_exc()[-MESSAGE_BYTES // 4 :]
        channel.send(encoder.encode(Failed("the packet capture has failed:", text)))
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


class _Server:
    """Writes what comes, and does as it is told, until it is told to finish or nobody tells any more."""

    def __init__(self, channel: socket.socket, keeper: Keeper) -> None:
        self._channel = channel
        self._keeper = keeper
        self._poller = select.epoll()
        self._poller.register(channel, select.EPOLLIN)
        self._taps: dict[str, Tap] = {}
        self._by_fd: dict[int, Tap] = {}
        # What went goes on in its files when it comes again.
        self._gone: dict[str, Tap] = {}

    def watch(self, node: str, ring: Ring, ports: range, interfaces: tuple[str, ...]) -> None:
        """Begins with a node."""
        tap = self._gone.pop(node, None) or Tap(node, self._keeper)
        tap.begin(ring, ports, interfaces)
        self._taps[node] = tap
        self._by_fd[ring.socket.fileno()] = tap
        self._poller.register(ring.socket, select.EPOLLIN)

    def serve(self) -> None:
        while True:
            for fd, _ in self._poller.poll():
                if fd in self._by_fd:
                    self._by_fd[fd].read()
                elif fd == self._channel.fileno() and not self._obey():
                    return

    def _obey(self) -> bool:
        received, fds, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not received:
            return False
        match command_decoder.decode(received):
            case Watch(node, ports, interfaces, ring_bytes):
                self.watch(node, Ring(socket.socket(fileno=fds[0]), ring_bytes), range(*ports), interfaces)
            case Leave(node):
                self._leave(node)
            case Settle():
                _drain(self._taps.values())
            case Finish():
                _drain(self._taps.values())
                _finish(self._channel, [*self._taps.values(), *self._gone.values()])
                return False
        self._channel.send(encoder.encode(Done()))
        return True

    def _leave(self, node: str) -> None:
        tap = self._taps.pop(node)
        _drain([tap])
        self._poller.unregister(tap.ring.socket)
        del self._by_fd[tap.ring.socket.fileno()]
        tap.end()
        self._gone[node] = tap


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
        tap.end()
        counts = tap.counts()
        for first in range(0, len(counts), _COUNTS_PER_MESSAGE):
            channel.send(encoder.encode(Counted(tuple(counts[first : first + _COUNTS_PER_MESSAGE]))))
        if tap.dropped:
            dropped[tap.node] = tap.dropped
    channel.send(encoder.encode(Counted((), dropped)))
