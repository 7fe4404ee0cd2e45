"""The kernel's tables of the network namespace that this is in, for where the programs that print them are missing.

`python -m patchbay_runner.kernel.tables NAME` writes one, a line of JSON for each of the kernel's messages. It is a
program because pyroute2 runs a loop of its own, for which the agent's has no room.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, NFCTSocket


def _files(*names: str) -> Callable[[], Iterator[str]]:
    def read() -> Iterator[str]:
        for path in (Path("/proc/self/net") / name for name in names):
            if path.exists():
                yield f"# {path.name}\n{path.read_text()}"

    return read


def _netlink(what: str, **arguments: Any) -> Callable[[], Iterator[str]]:
    def dump() -> Iterator[str]:
        with IPRoute() as channel:
            yield from map(_line, getattr(channel, what)(**arguments))

    return dump


def _conntrack(family: int) -> Callable[[], Iterator[str]]:
    def dump() -> Iterator[str]:
        with NFCTSocket() as channel:
            yield from (_line(message) for message in channel.dump() if message["nfgen_family"] == family)

    return dump


def _line(message: Any) -> str:
    return json.dumps(_plain(message), default=str)


def _plain(value: Any) -> Any:
    """A netlink message without its frame, attributes by name."""
    if isinstance(value, dict):
        fields = {key: _plain(each) for key, each in value.items() if key not in ("header", "attrs", "event")}
        return fields | {name: _plain(each) for name, each, *_ in map(tuple, value.get("attrs", ()))}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "addresses": _netlink("get_addr"),
    "routes": _netlink("get_routes", family=socket.AF_INET),
    "routes-v6": _netlink("get_routes", family=socket.AF_INET6),
    "neighbours": _netlink("get_neighbours"),
    "qdiscs": _netlink("get_qdiscs"),
    "conntrack": _conntrack(socket.AF_INET),
    "conntrack-v6": _conntrack(socket.AF_INET6),
    "sockets": _files("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix", "packet"),
    "counters": _files("dev", "snmp", "snmp6", "netstat"),
}


if __name__ == "__main__":
    # Whoever starts it has made its standard output the table's file.
    with os.fdopen(1, "w") as file:
        file.writelines(f"{line}\n" for line in TABLES[sys.argv[1]]())
