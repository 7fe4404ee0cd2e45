#!/usr/bin/env python3
"""What a NAT does to one UDP socket: asks several reflectors which endpoint they see, and says it as JSON.

reflexive.py serve ADDRESS:PORT...        answers every datagram with the sender's endpoint, tells whom it has seen
reflexive.py ask PORT ADDRESS:PORT...     sends from local PORT to each, prints one JSON document
"""

import json
import selectors
import socket
import sys


def endpoint(text: str) -> tuple[str, int]:
    address, _, port = text.rpartition(":")
    return address, int(port)


def udp_socket(place: str) -> socket.socket:
    """One of the place's address family."""
    is_v6 = ":" in endpoint(place)[0]
    return socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)


def serve(places: list[str]) -> None:
    selector = selectors.DefaultSelector()
    for place in places:
        sock = udp_socket(place)
        sock.bind(endpoint(place))
        selector.register(sock, selectors.EVENT_READ)
    print("serving", flush=True)
    clients: list[str] = []
    while True:
        for key, _ in selector.select():
            _, source = key.fileobj.recvfrom(100)
            if source[0] not in clients:
                clients.append(source[0])
                print("clients", *clients, flush=True)
            key.fileobj.sendto(f"{source[0]}:{source[1]}".encode(), source)


def ask(port: int, places: list[str]) -> None:
    seen = []
    with udp_socket(places[0]) as sock:
        sock.bind(("", port))
        sock.settimeout(3)
        for place in places:
            sock.sendto(b"?", endpoint(place))
            seen.append(sock.recv(100).decode())
    kept = all(endpoint(text)[1] == port for text in seen)
    print(json.dumps({"seen": seen, "mappings": len(set(seen)), "port_kept": kept, "address": endpoint(seen[0])[0]}))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        ask(int(sys.argv[2]), sys.argv[3:])
