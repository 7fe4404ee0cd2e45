"""A relay in a process of its own, and its parent's handle. Messages are whole datagrams of a Unix socket pair."""

from __future__ import annotations

import array
import gc
import os
import select
import signal
import socket
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, TypeVar

import msgspec

from patchbay_runner.errors import EmulatorDied
from patchbay_runner.kernel.forked import leave_parent, silence_standard_streams
from patchbay_runner.kernel.links.line import Line
from patchbay_runner.kernel.links.priority import set_time_slice
from patchbay_runner.kernel.links.relay import Relay, RelayCounters, RelayedLine
from patchbay_runner.model.links import LinkCondition

_MESSAGE_BYTES = 1 << 16
_ANSWER_TIMEOUT_S = 30.0
_LINES_PER_TURN = 16
# The least that the kernel gives: short turns come sooner when their time has come.
_TIME_SLICE_NS = 100_000


class Attach(msgspec.Struct, frozen=True, tag=True):
    """Relay a line; the receiving and the sending socket come along."""

    number: int
    name: str
    seed: int
    condition: LinkCondition


class Change(msgspec.Struct, frozen=True, tag=True):
    number: int
    condition: LinkCondition


class Pause(msgspec.Struct, frozen=True, tag=True):
    """Let what a line holds leave, and expect no more until it is changed."""

    number: int


class Lose(msgspec.Struct, frozen=True, tag=True):
    """Lose what a line holds, and go on."""

    number: int


class Detach(msgspec.Struct, frozen=True, tag=True):
    """End a line after what it holds has left; answered with its last counters."""

    number: int


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Answered with the lines' counters, in the same order."""

    numbers: tuple[int, ...]


class Counted(msgspec.Struct, frozen=True, tag=True):
    counters: tuple[RelayCounters, ...]


class Done(msgspec.Struct, frozen=True, tag=True):
    pass


class Crashed(msgspec.Struct, frozen=True, tag=True):
    """The relay has ended by a defect."""

    traceback: str


_Command = Attach | Change | Pause | Lose | Detach | Ask
_Answer = Counted | Done | Crashed
_A = TypeVar("_A", Counted, Done)

_encoder = msgspec.msgpack.Encoder()
_command_decoder = msgspec.msgpack.Decoder[_Command](_Command)
_answer_decoder = msgspec.msgpack.Decoder[_Answer](_Answer)


class Shard:
    """The parent's side. Every method waits for the relay's answer, a turn of its loop.

    Raises EmulatorDied once the relay is gone. `fileno` is readable when it has ended by itself.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self.pid = os.fork()
        if not self.pid:
            ours.close()
            _run(theirs, parent)
        theirs.close()
        ours.settimeout(_ANSWER_TIMEOUT_S)
        self._channel = ours
        self.lines: set[int] = set()

    def fileno(self) -> int:
        return self._channel.fileno()

    def attach(
        self, number: int, name: str, seed: int, condition: LinkCondition, sockets: Sequence[socket.socket]
    ) -> None:
        self._call(Attach(number, name, seed, condition), Done, sockets)
        self.lines.add(number)

    def change(self, number: int, condition: LinkCondition) -> None:
        self._call(Change(number, condition), Done)

    def pause(self, number: int) -> None:
        self._call(Pause(number), Done)

    def lose(self, number: int) -> None:
        self._call(Lose(number), Done)

    def detach(self, number: int) -> RelayCounters:
        self.lines.discard(number)
        (counters,) = self._call(Detach(number), Counted).counters
        return counters

    def counters(self) -> dict[int, RelayCounters]:
        """Of all lines. Few are asked for at a time, since frames wait while the relay counts."""
        found: dict[int, RelayCounters] = {}
        numbers = sorted(self.lines)
        for first in range(0, len(numbers), _LINES_PER_TURN):
            some = tuple(numbers[first : first + _LINES_PER_TURN])
            found |= zip(some, self._call(Ask(some), Counted).counters, strict=True)
        return found

    def check(self) -> None:
        """Raises EmulatorDied when the relay has ended."""
        readable, _, _ = select.select([self._channel], [], [], 0)
        if readable:
            self._receive()

    def close(self) -> None:
        """Ends the process; frames that are under way are lost."""
        self._channel.close()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _call(self, command: _Command, expected: type[_A], sockets: Sequence[socket.socket] = ()) -> _A:
        with suppress(BrokenPipeError):  # its last words may wait to be read
            socket.send_fds(self._channel, [_encoder.encode(command)], [sock.fileno() for sock in sockets])
        answer = self._receive()
        if not isinstance(answer, expected):
            raise EmulatorDied(f"the link emulator answered {answer}")
        return answer

    def _receive(self) -> _Answer:
        try:
            received = self._channel.recv(_MESSAGE_BYTES)
        except OSError as error:
            raise EmulatorDied(f"the link emulator does not answer: {error}") from error
        if not received:
            raise EmulatorDied("the link emulator has ended")
        answer: _Answer = _answer_decoder.decode(received)
        if isinstance(answer, Crashed):
            raise EmulatorDied(f"the link emulator has failed:\n{answer.traceback}")
        return answer


def _run(channel: socket.socket, parent: int) -> NoReturn:
    """The child, from its fork to its end. It shares nothing with the parent but the channel."""
    try:
        channel = _leave_parent(channel, parent)
        _serve(channel)
    except BaseException:  # noqa: BLE001 - the last frame of a process: whatever it was, the parent must learn it
        text = traceback.format_exc()[-_MESSAGE_BYTES // 4 :]
        channel.send(_encoder.encode(Crashed(text)))
    finally:
        os._exit(0)


def _leave_parent(channel: socket.socket, parent: int) -> socket.socket:
    leave_parent(parent)
    # Pipes and sockets of the parent must not stay open because we have them too.
    lowest = 3
    kept = os.dup2(channel.detach(), lowest, inheritable=False)
    os.closerange(lowest + 1, os.sysconf("SC_OPEN_MAX"))
    silence_standard_streams()
    set_time_slice(_TIME_SLICE_NS)
    # Nothing here makes reference cycles, and a collection would hold frames up.
    gc.disable()
    gc.freeze()
    return socket.socket(fileno=kept)


def _serve(channel: socket.socket) -> None:
    relay = Relay()
    relay.add_channel(channel.fileno())
    lines: dict[int, RelayedLine] = {}
    interval_ns = 0
    while True:
        commanded, interval_ns = relay.turn(interval_ns)
        if commanded:
            received = _receive(channel)
            if received is None:
                return
            channel.send(_encoder.encode(_carry_out(*received, relay, lines)))


def _receive(channel: socket.socket) -> tuple[_Command, list[int]] | None:
    data, fds, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 2)
    return (_command_decoder.decode(data), list(array.array("i", fds))) if data else None


def _carry_out(command: _Command, fds: list[int], relay: Relay, lines: dict[int, RelayedLine]) -> _Answer:
    match command:
        case Attach():
            receiving, sending = (socket.socket(fileno=fd) for fd in fds)
            line = Line(command.condition, command.name, command.seed)
            lines[command.number] = relay.attach(line, receiving, sending)
            return Done()
        case Change():
            lines[command.number].line.change(command.condition)
            lines[command.number].is_idle = False
            return Done()
        case Pause():
            relay.pause(lines[command.number])
            return Done()
        case Lose():
            relay.lose(lines[command.number])
            return Done()
        case Ask():
            return Counted(tuple(lines[number].counters() for number in command.numbers))
        case Detach():
            relayed = lines.pop(command.number)
            return Counted((relay.detach(relayed),))
