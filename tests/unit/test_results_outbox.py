import asyncio
import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator

import pytest

from patchbay_runner.results.outbox import BACKLOG_BYTES, Outbox


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):  # some tests close an end themselves
            os.close(descriptor)


def read_to_end(reader: int) -> bytes:
    return b"".join(iter(lambda: os.read(reader, 1 << 16), b""))


def test_without_a_loop_a_line_leaves_at_once(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    Outbox(writer).send(b"one\n")
    assert os.read(reader, 100) == b"one\n"


def test_sending_never_waits_and_nothing_is_lost_or_torn(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outbox = Outbox(writer)
    lines = [f"{number:05}{'x' * (number % 3000)}\n".encode() for number in range(2000)]
    for line in lines:
        outbox.send(line)
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(read_to_end(reader)))
    thread.start()
    outbox.drain(patience_s=10)
    os.close(writer)
    thread.join()
    assert received == [b"".join(lines)]


def test_a_line_larger_than_the_backlog_arrives_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outbox = Outbox(writer)
    length = BACKLOG_BYTES + (1 << 16)
    outbox.send(b"x" * length)
    assert outbox.is_full
    received: list[int] = []
    thread = threading.Thread(target=lambda: received.append(len(read_to_end(reader))))
    thread.start()
    outbox.drain(patience_s=10)
    os.close(writer)
    thread.join()
    assert received == [length]
    assert not outbox.is_full


def test_draining_gives_a_stuck_reader_up(pipe: tuple[int, int]) -> None:
    outbox = Outbox(pipe[1])
    outbox.send(b"x" * 100_000)
    outbox.drain(patience_s=0.2)
    assert not outbox.is_closed


def test_a_reader_that_has_gone_ends_the_sending(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    outbox = Outbox(writer)
    outbox.send(b"one\n")
    outbox.send(b"two\n")
    outbox.drain(patience_s=10)
    assert outbox.is_closed


def test_on_a_loop_the_rest_follows_as_the_reader_reads(pipe: tuple[int, int]) -> None:
    reader, writer = pipe

    async def exchange() -> bytes:
        outbox = Outbox(writer)
        for _ in range(100):
            outbox.send(b"x" * 999 + b"\n")
        received = b""
        while len(received) < 100_000:
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                received += os.read(reader, 1 << 16)
        return received

    os.set_blocking(reader, False)
    assert asyncio.run(asyncio.wait_for(exchange(), 10)) == (b"x" * 999 + b"\n") * 100
