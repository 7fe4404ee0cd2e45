"""The resolver on sockets of the host's loopback: datagrams, streams, and clients that misbehave."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import dns.asyncquery
import dns.message
import dns.rcode
import pytest

from patchbay_runner.kernel.dns import DnsListener, Resolver, Zone, server
from patchbay_runner.kernel.dns.server import Sockets, bind_sockets
from patchbay_runner.model.names import NameRecord

LOOPBACK = ip_address("127.0.0.1")
MANY = 200
RECORDS = [
    NameRecord("server", ("198.18.1.2",)),
    NameRecord("many", tuple(f"10.0.0.{i}" for i in range(MANY))),
]


class Served:
    """A listener and where it listens. Over loopback the two ports may differ."""

    def __init__(self, emit: Callable[..., None]) -> None:
        sockets = Sockets(socket.socket(type=socket.SOCK_DGRAM), socket.socket())
        bind_sockets(sockets, LOOPBACK, 0)
        self.udp_port, self.tcp_port = (sock.getsockname()[1] for sock in (sockets.udp, sockets.tcp))
        self.tcp = sockets.tcp
        self.listener = DnsListener(sockets, Resolver(Zone(RECORDS)), emit=emit)

    async def connect(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.tcp_port))
        return sock


@asynccontextmanager
async def served(emit: Callable[..., None] = lambda kind, **fields: None) -> AsyncIterator[Served]:
    made = Served(emit)
    made.listener.start()
    try:
        yield made
    finally:
        made.listener.stop()
        await asyncio.sleep(0)


def on_loop(body: Coroutine[Any, Any, None]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(20):
            await body

    asyncio.run(limited(), debug=False)


def framed(name: str) -> bytes:
    wire = dns.message.make_query(name, "A").to_wire()
    return len(wire).to_bytes(2) + wire


async def received(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not more:
            break
        data += more
    return data


async def next_reply(sock: socket.socket) -> dns.message.Message:
    size = int.from_bytes(await received(sock, 2))
    return dns.message.from_wire(await received(sock, size))


def test_datagrams_and_truncation_to_a_stream() -> None:
    async def body() -> None:
        async with served() as made:
            query = dns.message.make_query("many", "A")
            reply = await dns.asyncquery.udp(query, "127.0.0.1", timeout=5, port=made.udp_port)
            assert reply.flags & dns.flags.TC
            reply = await dns.asyncquery.tcp(query, "127.0.0.1", timeout=5, port=made.tcp_port)
            assert len(reply.answer[0]) == MANY

    on_loop(body())


def test_many_datagrams_at_once_are_all_answered() -> None:
    async def body() -> None:
        async with served() as made:
            loop = asyncio.get_running_loop()
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(("127.0.0.1", made.udp_port))
                wire = dns.message.make_query("server", "A").to_wire()
                for identifier in range(150):
                    sock.send(identifier.to_bytes(2) + wire[2:])
                replies = {(await loop.sock_recv(sock, 2000))[:2] for _ in range(150)}
            assert len(replies) == 150

    on_loop(body())


def test_a_connection_carries_many_queries_in_odd_pieces() -> None:
    async def body() -> None:
        async with served() as made:
            with await made.connect() as sock:
                stream = framed("server") * 3 + framed("nobody")
                for start in range(0, len(stream), 7):
                    sock.send(stream[start : start + 7])
                    await asyncio.sleep(0.001)
                codes = [(await next_reply(sock)).rcode() for _ in range(4)]
            assert codes == [dns.rcode.NOERROR] * 3 + [dns.rcode.NXDOMAIN]

    on_loop(body())


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x00\x20abc", b"\x00\x03abc", b"\xff\xff" + bytes(100)])
def test_a_client_that_breaks_off_harms_nobody(data: bytes) -> None:
    async def body() -> None:
        async with served() as made:
            with await made.connect() as sock:
                sock.send(data)
            with await made.connect() as sock:
                sock.send(framed("server"))
                assert (await next_reply(sock)).rcode() == dns.rcode.NOERROR

    on_loop(body())


def test_a_silent_client_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_IDLE_S", 0.1)

    async def body() -> None:
        async with served() as made:
            with await made.connect() as sock:
                sock.send(framed("server"))
                assert (await next_reply(sock)).rcode() == dns.rcode.NOERROR
                assert await received(sock, 1) == b""

    on_loop(body())


def test_connections_are_limited_and_the_refusal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 2)
    told: list[str] = []

    async def body() -> None:
        async with served(lambda kind, **fields: told.append(fields["error"])) as made:
            opened = [await made.connect() for _ in range(3)]
            for sock in opened[:2]:
                sock.send(framed("server"))
                assert (await next_reply(sock)).rcode() == dns.rcode.NOERROR
            assert await received(opened[2], 1) == b""
            opened[0].close()
            await asyncio.sleep(0.05)
            with await made.connect() as sock:
                sock.send(framed("server"))
                assert (await next_reply(sock)).rcode() == dns.rcode.NOERROR
            for sock in opened:
                sock.close()

    on_loop(body())
    assert told == ["2 connections are open already"]


def test_stopping_closes_connections_and_frees_the_port() -> None:
    async def body() -> None:
        async with served() as made:
            sock = await made.connect()
            sock.send(framed("server"))
            await next_reply(sock)
        with sock:
            assert await received(sock, 1) == b""
        again = Sockets(socket.socket(type=socket.SOCK_DGRAM), socket.socket())
        with again.udp, again.tcp:
            bind_sockets(again, LOOPBACK, made.tcp_port)

    on_loop(body())
