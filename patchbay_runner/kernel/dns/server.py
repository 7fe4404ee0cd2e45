"""The resolver on the network: UDP and TCP sockets in the namespaces of routers, served by the agent's own loop.

On the loop, because a reply costs some microseconds, and because the names change with the lab's own records: there is
nothing to pass on to another process, and nothing that can lag behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import msgspec

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.dns.dns64 import Dns64
from patchbay_runner.kernel.dns.resolver import Resolver
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.model.names import Address

PORT = 53
_BACKLOG = 128
_RECEIVE_BYTES = 65_535
_QUERIES_AT_A_TIME = 64
# RFC 7766, section 6.2.3: idle connections are the server's to close.
_IDLE_S = 10.0
_CONNECTIONS = 256
_PAUSE_S = 1.0
# Linux, include/uapi/linux/in.h and in6.h; Python does not name them.
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78


class Sockets(msgspec.Struct, frozen=True):
    """A bound UDP socket and a listening TCP socket of one address."""

    udp: socket.socket
    tcp: socket.socket


def open_sockets(netns_fd: int, address: Address, node: str = "", port: int = PORT) -> Sockets:
    """Sockets on an address of a node. Raises KernelError, for instance when a program of the node has the port."""
    with entered(netns_fd), contextlib.ExitStack() as opened:
        family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
        try:
            udp = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            tcp = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
            bind_sockets(Sockets(udp, tcp), address, port)
        except OSError as error:
            raise KernelError(f"serve DNS on {address} port {port}", error.errno or 0, node) from error
        opened.pop_all()
        return Sockets(udp, tcp)


def bind_sockets(sockets: Sockets, address: Address, port: int = PORT) -> None:
    """Binds both to the address, so that replies leave by the address that was asked. Raises OSError.

    The address may be away for the moment, as a router's is that starts anew.
    """
    for sock in (sockets.udp, sockets.tcp):
        sock.setblocking(False)
        if isinstance(address, IPv6Address):
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    sockets.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sockets.udp.bind((str(address), port))
    sockets.tcp.bind((str(address), port))
    sockets.tcp.listen(_BACKLOG)


def _ignore_event(kind: str, /, **fields: object) -> None:
    """Where events go when nobody listens."""


class DnsListener:
    """Serves one pair of sockets, which it takes over, from `start` to `stop`.

    `dns64` is for all who ask here; whoever changes the path behind them sets another one.

    `emit` receives `dns_failed` (client, error) when the kernel refuses a reply or a connection; the client asks again.
    """

    def __init__(
        self,
        sockets: Sockets,
        resolver: Resolver,
        dns64: Dns64 | None = None,
        emit: Callable[..., None] = _ignore_event,
    ) -> None:
        self._udp = sockets.udp
        self._tcp = sockets.tcp
        self._resolver = resolver
        self.dns64 = dns64
        self._emit = emit
        self._loop: asyncio.AbstractEventLoop | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Serves from now on, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._udp.fileno(), self._receive)
        self._loop.add_reader(self._tcp.fileno(), self._accept)

    def stop(self) -> None:
        """Closes the sockets and all connections."""
        if self._loop is not None:
            for sock in (self._udp, self._tcp):
                self._loop.remove_reader(sock.fileno())
            self._loop = None
        for conversation in self._conversations:
            conversation.cancel()
        self._udp.close()
        self._tcp.close()

    def _receive(self) -> None:
        for _ in range(_QUERIES_AT_A_TIME):
            try:
                query, client = self._udp.recvfrom(_RECEIVE_BYTES)
            except BlockingIOError:
                return
            reply = self._resolver.reply(query, _address(client[0]), self.dns64)
            if reply is None:
                continue
            try:
                self._udp.sendto(reply, client)
            except OSError as error:
                self._emit("dns_failed", client=client[0], error=error.strerror)

    def _accept(self) -> None:
        assert self._loop is not None
        try:
            connection, client = self._tcp.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # Out of descriptors or memory: the connection stays in the queue, and asking for it again frees nothing.
            self._emit("dns_failed", client="", error=error.strerror)
            self._loop.remove_reader(self._tcp.fileno())
            self._loop.call_later(_PAUSE_S, self._resume)
            return
        if len(self._conversations) >= _CONNECTIONS:
            self._emit("dns_failed", client=client[0], error=f"{_CONNECTIONS} connections are open already")
            connection.close()
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._converse(connection, _address(client[0])))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    def _resume(self) -> None:
        if self._loop is not None:
            self._loop.add_reader(self._tcp.fileno(), self._accept)

    async def _converse(self, connection: socket.socket, client: Address) -> None:
        """Answers the queries of a connection in order (RFC 1035, section 4.2.2)."""
        loop = asyncio.get_running_loop()
        # A client that goes, or that says nothing for a while, is within its rights.
        with connection, contextlib.suppress(OSError, EOFError, TimeoutError):
            while True:
                async with asyncio.timeout(_IDLE_S):
                    size = int.from_bytes(await _exactly(connection, 2))
                    query = await _exactly(connection, size)
                    reply = self._resolver.reply(query, client, self.dns64, is_udp=False)
                    if reply is None:
                        return
                    await loop.sock_sendall(connection, len(reply).to_bytes(2) + reply)


async def _exactly(connection: socket.socket, size: int) -> bytes:
    """The next `size` bytes. Raises EOFError when the client has closed the connection."""
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _address(text: str) -> Address:
    return ip_address(text.partition("%")[0])
