"""Records and descriptors over a socket, and what a broken peer does to them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import msgspec
import pytest

from patchbay_runner.kernel.sandbox import messages

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with first, second:
        yield first, second


def _open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.parametrize(
    "record",
    [
        messages.InitStarted(),
        messages.AgentReady(),
        messages.SetupFailed("unshare", 1, "why"),
        messages.AgentRaised("Traceback: ü\n" * 1000),
        messages.AgentEnded(256),
        messages.InitEnded(9),
    ],
)
def test_record_survives_the_way(pair: Pair, record: messages.Status) -> None:
    assert messages.send(pair[0], record)
    assert messages.receive(pair[1], messages.STATUS) == (record, [])


def test_descriptors_arrive_close_on_exec(pair: Pair) -> None:
    reader, writer = os.pipe()
    messages.send(pair[0], messages.Started(7), [writer])
    os.close(writer)
    record, (fd,) = messages.receive(pair[1], messages.REPLY)
    assert record == messages.Started(7)
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    os.close(fd)
    assert os.read(reader, 5) == b"x"
    os.close(reader)


def test_as_many_descriptors_as_promised(pair: Pair) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    count = messages.MAX_PASSED_FDS + 3
    messages.send(pair[0], messages.InitStarted(), [null] * count)
    _, fds = messages.receive(pair[1], messages.STATUS)
    assert len(fds) == count
    messages.close_all([null, *fds])


def test_end_is_told_from_no_message_yet(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        messages.receive(pair[1], messages.STATUS, socket.MSG_DONTWAIT)
    pair[0].close()
    assert messages.receive(pair[1], messages.STATUS) == (None, [])


def test_sending_to_nobody_is_told(pair: Pair) -> None:
    pair[1].close()
    assert not messages.send(pair[0], messages.InitStarted())


def test_foreign_record_is_refused_and_its_descriptors_closed(pair: Pair) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    before = _open_descriptors()
    messages.send(pair[0], messages.Started(1), [null, null])
    with pytest.raises(msgspec.ValidationError):
        messages.receive(pair[1], messages.STATUS)
    assert _open_descriptors() == before
    os.close(null)


def test_options_round_trip_in_a_request(pair: Pair) -> None:
    options = messages.SandboxOptions(user="root", hostname="h", hidden_below_run=("a/b",), open_files=12)
    request = messages.Request("entry", options, 3)
    messages.send(pair[0], request)
    assert messages.receive(pair[1], messages.REQUEST) == (request, [])
