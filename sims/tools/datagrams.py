#!/usr/bin/env python3
"""Programs that live on UDP as chats and calls do.

datagrams.py beacon ADDRESS:PORT               sends twenty datagrams a second, whatever becomes of them
datagrams.py push ADDRESS:PORT                 serves subscribers: sends each a message when the time it asked for is up
datagrams.py subscribe ADDRESS:PORT AFTER_S [KEEPALIVE_S]
                                               asks for such a message; says "pushed", or fails 2 s after its time
datagrams.py meet PORT ADDRESS:PORT            punches: writes to the peer until both have heard each other; says so
"""

import asyncio
import itertools
import socket
import sys
import time
from typing import Any

GRACE_S = 2
INTERVAL_S = 0.05
MEETING_S = 5


def endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


def udp_socket(peer: str) -> socket.socket:
    """One of the peer's address family."""
    is_v6 = ":" in endpoint(peer)[0]
    return socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)


def beacon(place: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while True:
            try:
                sock.sendto(b".", endpoint(place))
            except OSError as error:  # no route: what a VPN's kill switch is for
                print(f"not sent: {error}", flush=True)
            time.sleep(INTERVAL_S)


class PushServer(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        print("serving", flush=True)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        if data != b"keepalive":
            asyncio.get_running_loop().call_later(float(data), self.transport.sendto, b"pushed", address)


async def push(place: str) -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(PushServer, local_addr=endpoint(place))
    await asyncio.Event().wait()


def subscribe(place: str, after_s: str, keepalive_s: str | None = None) -> None:
    ends = time.monotonic() + float(after_s) + GRACE_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(endpoint(place))
        sock.send(after_s.encode())
        while (left_s := ends - time.monotonic()) > 0:
            sock.settimeout(min(left_s, float(keepalive_s or left_s)))
            try:
                print(sock.recv(100).decode())
            except TimeoutError:
                if keepalive_s:
                    sock.send(b"keepalive")
            else:
                return
    sys.exit("no message came")


def meet(port: str, peer: str) -> None:
    """Whoever has heard the peer says so in what it sends; whoever reads that knows that both directions work."""
    ends = time.monotonic() + MEETING_S
    heard = b"?"
    with udp_socket(peer) as sock:
        sock.bind(("", int(port)))
        sock.settimeout(INTERVAL_S)
        for sent in itertools.count(1):
            sock.sendto(heard, endpoint(peer))
            try:
                data, source = sock.recvfrom(100)
            except TimeoutError:
                if time.monotonic() > ends:
                    sys.exit("the peer was not heard")
                continue
            heard = b"!"
            if data == b"!":
                for _ in range(3):  # the peer may not know yet
                    sock.sendto(heard, source)
                print(f"met {source[0]}:{source[1]} after {sent} datagrams")
                return


COMMANDS = {"beacon": beacon, "push": push, "subscribe": subscribe, "meet": meet}

if __name__ == "__main__":
    outcome = COMMANDS[sys.argv[1]](*sys.argv[2:])
    if asyncio.iscoroutine(outcome):
        asyncio.run(outcome)
