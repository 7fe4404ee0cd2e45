#!/usr/bin/python3
"""Two peers connect as WebRTC does (ICE, RFC 8445, by aioice), and say as JSON how.

ice.py rendezvous PORT                     passes lines between the two peers of a room
ice.py peer ROOM RENDEZVOUS UDP TLS        UDP and TLS are the endpoints of one server for STUN and TURN

An endpoint is NAME:PORT or ADDRESS:PORT.

Peers try a direct path for three seconds, then one through a relay, which they reach by UDP, or by TLS when UDP is not
answered. The interpreter is Debian's, which has the package python3-aioice.
"""

import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass
from typing import Any

from aioice import Candidate, Connection, TransportPolicy

DIRECT_S = 3
RELAY_S = 10
GATHER_S = 2
CREDENTIALS = {"turn_username": "peer", "turn_password": "secret"}


def endpoint(text: str) -> tuple[str, int]:
    name, _, port = text.rpartition(":")
    address = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0][4]
    return address[0], int(port)


async def rendezvous(port: str) -> None:
    waiting: dict[bytes, Any] = {}

    async def joined(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        room = await reader.readline()
        if room not in waiting:
            waiting[room] = reader, writer
            return
        other_in, other_out = waiting.pop(room)
        writer.write(b"true\n")
        other_out.write(b"false\n")
        await asyncio.gather(pass_on(reader, other_out), pass_on(other_in, writer))

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(joined, port=int(port))
    print("serving", flush=True)
    await server.serve_forever()


@dataclass
class Peer:
    calls: bool
    udp: tuple[str, int]
    tls: tuple[str, int]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, mine: Any) -> Any:
        """Tells the other peer something, and reads its word on the same."""
        self.writer.write(json.dumps(mine).encode() + b"\n")
        return json.loads(await self.reader.readline())

    async def direct(self) -> Connection | None:
        """A path without a relay."""
        connection = Connection(self.calls, stun_server=self.udp)
        return await self.establish(connection if await is_gathered(connection) else None, DIRECT_S)

    async def relayed(self) -> tuple[Connection | None, str]:
        """A path through the relay, and what the relay is spoken to by."""
        options = {"transport_policy": TransportPolicy.RELAY, **CREDENTIALS}
        connection, by = Connection(self.calls, turn_server=self.udp, **options), "udp"
        if not await is_gathered(connection):
            by = "tls"
            connection = Connection(self.calls, turn_server=self.tls, turn_transport="tcp", turn_ssl=True, **options)
            if not await is_gathered(connection):
                sys.exit("the relay does not answer, neither by UDP nor by TLS")
        return await self.establish(connection, RELAY_S), by

    async def establish(self, connection: Connection | None, within_s: float) -> Connection | None:
        """None unless both peers have candidates and both say that a path works."""
        offer = [candidate.to_sdp() for candidate in connection.local_candidates] if connection else []
        mine = [connection.local_username, connection.local_password] if connection else []
        theirs = await self.exchange({"secret": mine, "candidates": offer})
        is_up = False
        if connection and theirs["candidates"]:
            connection.remote_username, connection.remote_password = theirs["secret"]
            for text in theirs["candidates"]:
                await connection.add_remote_candidate(Candidate.from_sdp(text))
            await connection.add_remote_candidate(None)
            is_up = await is_done(connection.connect(), within_s)
        return connection if await self.exchange(is_up) and is_up else None


async def is_gathered(connection: Connection) -> bool:
    return await is_done(connection.gather_candidates(), GATHER_S)


async def is_done(attempt: Any, within_s: float) -> bool:
    try:
        await asyncio.wait_for(attempt, within_s)
    except (ConnectionError, TimeoutError):
        return False
    return True


async def peer(room: str, meeting: str, udp: str, tls: str) -> None:
    reader, writer = await asyncio.open_connection(*endpoint(meeting))
    writer.write(room.encode() + b"\n")
    calls = json.loads(await reader.readline())
    me = Peer(calls, endpoint(udp), endpoint(tls), reader, writer)
    path, by = "direct", ""
    connection = await me.direct()
    if connection is None:
        path = "relay"
        connection, by = await me.relayed()
    if connection is None:
        sys.exit("neither a direct path nor a relayed one")
    started = time.monotonic()
    await connection.send(b"hello")
    heard = await asyncio.wait_for(connection.recv(), 5)
    took_ms = round(1000 * (time.monotonic() - started), 1)
    print(json.dumps({"path": path, "relay_by": by, "heard": heard.decode(), "took_ms": took_ms}), flush=True)
    await me.exchange("bye")


if __name__ == "__main__":
    asyncio.run({"rendezvous": rendezvous, "peer": peer}[sys.argv[1]](*sys.argv[2:]))
