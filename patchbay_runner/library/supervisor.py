"""The program that answers for filtered threads: `python -m patchbay_runner.library.supervisor CHANNEL`.

A process of its own, because a thread may wait for an answer while it holds Python's global lock. It never waits for
anybody: what it asks of an agent is answered when the agent's reply is there. It lives until nothing runs any more that
one of its filters is on, which is longer than the program when that leaves a daemon behind.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.kernel import seccomp
from patchbay_runner.kernel.sandbox import messages
from patchbay_runner.lab import commands
from patchbay_runner.library import supervision

_GONE = errno.ENETDOWN
_NODE_FILES: dict[str, commands.NodeFileName] = {supervision.HOSTS: "hosts", supervision.RESOLV_CONF: "resolv.conf"}


class Filter:
    """A filter by its listener. `owners` are the threads that others of their processes follow."""

    def __init__(self, listener: int, told: supervision.Listener) -> None:
        self.listener = listener
        self.paths = told.paths
        self.first = told.tid
        self.owners: dict[int, int] = {}

    def let_through(self, call: int) -> None:
        """Leaves a call to the kernel."""
        seccomp.let_through(self.listener, call)

    def refuse(self, call: int, error: int) -> None:
        """Has a call fail, if anybody still waits for it."""
        if self.listener >= 0:
            seccomp.refuse(self.listener, call, error)

    def answer_with(self, call: int, fd: int, *, is_inheritable: bool) -> None:
        """Has a call return a copy of a descriptor, or say why not: a kernel that cannot, a table that is full."""
        if self.listener < 0:
            return
        try:
            seccomp.answer_with(self.listener, call, fd, is_inheritable=is_inheritable)
        except OSError as error:
            self.refuse(call, error.errno or errno.EIO)

    def close(self) -> None:
        """Nobody is left whose calls it could tell of."""
        os.close(self.listener)
        self.listener = -1


class Waiting(msgspec.Struct, frozen=True):
    """A call that an agent is asked about."""

    filter: Filter
    id: int
    is_inheritable: bool


class Place:
    """A node, and the connection to its agent, which answers in order."""

    def __init__(self, node: str, connection: socket.socket) -> None:
        self.node = node
        self.connection = connection
        self._waiting: deque[Waiting] = deque()

    def ask(self, command: commands.AnyCommand, waiting: Waiting) -> None:
        """Passes a call on to the agent; never to the host."""
        try:
            commands.send_message(self.connection, command)
        except OSError:
            waiting.filter.refuse(waiting.id, _GONE)
        else:
            self._waiting.append(waiting)

    def take_reply(self) -> bool:
        """Answers the call that has waited longest; False when the lab is gone."""
        try:
            reply, fds = commands.receive_reply(self.connection)
        except LabError:
            self.give_up()
            return False
        waiting = self._waiting.popleft()
        if fds:
            waiting.filter.answer_with(waiting.id, fds[0], is_inheritable=waiting.is_inheritable)
        else:
            refused = isinstance(reply, commands.Refused) and reply.errno
            waiting.filter.refuse(waiting.id, refused or _GONE)
        for fd in fds:
            os.close(fd)
        return True

    def give_up(self) -> None:
        """Refuses what waits."""
        while self._waiting:
            waiting = self._waiting.popleft()
            waiting.filter.refuse(waiting.id, _GONE)


class Supervisor:
    """The loop. `blocks` are the places that threads have entered, by thread, the last one in force."""

    def __init__(self, channel: socket.socket, calls: seccomp.Calls) -> None:
        self._channel = channel
        self._calls = calls
        self._poller = select.poll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._filters: dict[int, Filter] = {}
        self._has_forgotten = False
        self._blocks: dict[int, list[Place]] = {}
        self._watch(channel.fileno(), self._take_listener)

    def run(self) -> None:
        """Until there is nobody left to answer for."""
        while self._filters or self._channel.fileno() >= 0:
            self._has_forgotten = False
            for fd, events in self._poller.poll():
                if fd in self._filters and not events & select.POLLIN:
                    self._forget(fd)
                    self._filters.pop(fd).close()
                else:
                    self._ready[fd]()
                if self._has_forgotten:
                    break  # its number may be another's by now

    def _watch(self, fd: int, ready: Callable[[], None]) -> None:
        self._ready[fd] = ready
        self._poller.register(fd, select.POLLIN)

    def _forget(self, fd: int) -> None:
        if self._ready.pop(fd, None) is not None:
            self._poller.unregister(fd)
            self._has_forgotten = True

    def _take_listener(self) -> None:
        told, fds = messages.receive(self._channel, supervision.LISTENER)
        if told is None:
            self._forget(self._channel.fileno())
            self._channel.close()
            return
        (listener,) = fds
        self._filters[listener] = found = Filter(listener, told)
        self._watch(listener, lambda: self._answer(found))

    def _answer(self, of: Filter) -> None:
        call = seccomp.receive(of.listener)
        if call is None:
            return
        if call.number == self._calls.socket and call.arguments[0] & 0xFFFFFFFF == supervision.CALL_FAMILY:
            self._connect(of, call)
        elif (place := self._place_of(of, call.tid)) is None:
            of.let_through(call.id)
        elif call.number == self._calls.socket:
            family, kind, protocol = (_signed(argument) for argument in call.arguments[:3])
            waiting = Waiting(of, call.id, not kind & socket.SOCK_CLOEXEC)
            place.ask(commands.Socket(place.node, family, kind | socket.SOCK_CLOEXEC, protocol), waiting)
        elif call.number in self._calls.open:
            self._open(of, call, place)
        elif call.number in self._calls.stat:
            # As if it were not there: else the C library takes what it has read outside for the file as it is.
            of.refuse(call.id, errno.ENOENT)
        else:
            # A ring of io_uring makes sockets without a system call. Kernels without rings say the same.
            of.refuse(call.id, errno.ENOSYS)

    def _open(self, of: Filter, call: seccomp.Notification, place: Place) -> None:
        name = _NODE_FILES[of.paths[call.arguments[self._calls.open[call.number]]]]
        place.ask(commands.NodeFile(place.node, name), Waiting(of, call.id, False))

    def _place_of(self, of: Filter, tid: int) -> Place | None:
        """Where a thread's sockets belong: where it is itself, else where the thread is that it follows."""
        if blocks := self._blocks.get(tid):
            return blocks[-1]
        process, is_inside = _process_of(tid)
        if is_inside:
            return None  # an agent, or a program that one has started, is where it is
        owner = of.owners.get(process, of.first)
        return blocks[-1] if (blocks := self._blocks.get(owner)) else None

    def _connect(self, of: Filter, call: seccomp.Notification) -> None:
        if _signed(call.arguments[2]) != supervision.VERSION:
            of.refuse(call.id, errno.EPROTONOSUPPORT)
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            of.answer_with(call.id, theirs.fileno(), is_inheritable=False)
        self._watch(ours.fileno(), lambda: self._serve(of, call.tid, ours))

    def _serve(self, of: Filter, tid: int, connection: socket.socket) -> None:
        """A connection's first message: the place that its thread enters."""
        asked, fds = messages.receive(connection, supervision.ASKED)
        if not isinstance(asked, supervision.Enter):
            self._end(connection)
            return
        place = Place(asked.node, socket.socket(fileno=fds[0]))
        self._blocks.setdefault(tid, []).append(place)
        of.owners.setdefault(_process_of(tid)[0], tid)
        self._watch(place.connection.fileno(), lambda: self._hear(place))
        self._forget(connection.fileno())
        self._watch(connection.fileno(), lambda: self._leave(tid, connection, place))
        messages.send(connection, supervision.Settled())

    def _hear(self, place: Place) -> None:
        if not place.take_reply():
            self._forget(place.connection.fileno())

    def _leave(self, tid: int, connection: socket.socket, place: Place) -> None:
        messages.receive(connection, supervision.ASKED)  # `Leave`, or the end of whoever could have said so
        blocks = self._blocks[tid]
        blocks.remove(place)
        if not blocks:
            del self._blocks[tid]
        place.give_up()
        self._forget(place.connection.fileno())
        place.connection.close()
        messages.send(connection, supervision.Settled())
        self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        self._forget(connection.fileno())
        connection.close()


def _process_of(tid: int) -> tuple[int, bool]:
    """The process of a thread, and whether it is in a PID namespace below ours, as sandboxes are."""
    try:
        lines = Path(f"/proc/{tid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return tid, False  # it has ended: nobody takes the answer
    fields = dict(line.split(":\t", 1) for line in lines if line.startswith(("Tgid:", "NSpid:")))
    return int(fields["Tgid"]), len(fields["NSpid"].split()) > _OWN_DEPTH


def _depth() -> int:
    status = Path("/proc/self/status").read_text()
    return len(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()) - 1


_OWN_DEPTH = _depth()


def _signed(argument: int) -> int:
    """An argument that is an int in C."""
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def main() -> None:
    # It ends when it is needed no more: what ends the program may come from the terminal and go to all of its group.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    calls = seccomp.calls_of_this_machine()
    assert calls is not None
    Supervisor(socket.socket(fileno=int(sys.argv[1])), calls).run()


if __name__ == "__main__":
    main()
