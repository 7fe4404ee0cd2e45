"""Sockets that live in a node's network and are used from outside it."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from errno import EHOSTUNREACH
from ipaddress import IPv4Address, IPv6Address, ip_address
from subprocess import CompletedProcess
from typing import Protocol

from patchbay_runner.errors import LabError
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.commands import Family


class Node(Protocol):
    """What is needed of a node here."""

    name: str

    def socket(self, family: int, type: int) -> socket.socket: ...

    def run(self, args: Sequence[str], *, check: bool) -> CompletedProcess[str]: ...


_FAMILIES: dict[int, Family] = {socket.AF_INET: "inet", socket.AF_INET6: "inet6", socket.AF_PACKET: "packet"}
_KINDS: dict[int, str] = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "dgram", socket.SOCK_RAW: "raw"}
_NOT_FOUND = 2  # getent(1)


def make(client: LabClient, node: str, family: int, kind: int, protocol: int) -> socket.socket:
    """Raises LabError for what the node's kernel refuses, ValueError for what it is not asked for."""
    if family not in _FAMILIES or kind not in _KINDS:
        raise ValueError(f"a node has no sockets of family {family} and type {kind}")
    return client.socket(node, _FAMILIES[family], _KINDS[kind], protocol)


def resolve(node: Node, host: object) -> list[IPv4Address | IPv6Address]:
    """See `Node.resolve`."""
    if isinstance(host, IPv4Address | IPv6Address):
        return [host]
    interfaces = getattr(host, "interfaces", None)
    if isinstance(interfaces, dict):
        first = next(iter(interfaces.values()))
        return [address for address in (first.ip6, first.ip) if address is not None]
    try:
        return [ip_address(str(host))]
    except ValueError:
        return _look_up(node, str(host))


def create_connection(
    node: Node, address: tuple[object, int], timeout: float | None, source: tuple[object, int] | None
) -> socket.socket:
    """See `Node.create_connection`: one address after another, the last refusal is raised."""
    host, port = address
    refusal: OSError = OSError(EHOSTUNREACH, os.strerror(EHOSTUNREACH), str(host))
    for target in resolve(node, host):
        connection = node.socket(_family(target), socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            if source is not None:
                connection.bind((str(source[0]), source[1]))
            connection.connect((str(target), port))
        except OSError as error:
            connection.close()
            error.add_note(f"from {node.name} to {target} port {port}")
            refusal = error
        else:
            return connection
    raise refusal


def listen(node: Node, host: object, port: int, backlog: int) -> socket.socket:
    """See `Node.listen`."""
    listener = bound(node, host, port, socket.SOCK_STREAM)
    listener.listen(backlog)
    return listener


def bound(node: Node, host: object, port: int, kind: int) -> socket.socket:
    """A socket of the node that is bound to an address of its own. Raises OSError."""
    address = resolve(node, host)[-1]
    made = node.socket(_family(address), kind)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((str(address), port))
    except OSError:
        made.close()
        raise
    return made


def _family(address: IPv4Address | IPv6Address) -> int:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


def _look_up(node: Node, name: str) -> list[IPv4Address | IPv6Address]:
    """Asks the node's own resolver, by the C library's program for that."""
    done = node.run(["getent", "ahosts", name], check=False)
    if done.returncode not in (0, _NOT_FOUND):
        raise LabError(f"cannot look up {name}: {done.stderr.strip()}", node.name)
    found = dict.fromkeys(ip_address(line.split()[0].partition("%")[0]) for line in done.stdout.splitlines())
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is unknown to {node.name}")
    return list(found)
