"""Sockets that listen, asked of this machine's kernel in both ways."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from patchbay_runner.kernel import listening
from patchbay_runner.model.steps import Protocol

Look = Callable[[Protocol, int], Iterator[int]]


@pytest.mark.parametrize("look", [listening.asked, listening.read])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_a_socket_that_waits_is_found_by_its_inode(
    look: Look, family: socket.AddressFamily, protocol: Protocol, kind: socket.SocketKind
) -> None:
    with socket.socket(family, kind) as server:
        server.bind(("", 0))
        port = server.getsockname()[1]
        if protocol == "tcp":
            assert os.fstat(server.fileno()).st_ino not in set(look(protocol, port))
            server.listen()
        assert os.fstat(server.fileno()).st_ino in set(look(protocol, port))
        assert set(look("udp" if protocol == "tcp" else "tcp", port)).isdisjoint({os.fstat(server.fileno()).st_ino})


@pytest.mark.parametrize("look", [listening.asked, listening.read])
def test_connected_sockets_do_not_wait(look: Look) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.connect(("127.0.0.1", 9))
        assert set(look("udp", client.getsockname()[1])) == set()


def test_both_ways_agree() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            found = listening.listeners("tcp", port)
            assert found == set(listening.read("tcp", port)) == {os.fstat(server.fileno()).st_ino}


def test_a_kernel_without_sock_diag_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(protocol: Protocol, port: int) -> Iterator[int]:
        raise OSError(2, "no module")

    monkeypatch.setattr(listening, "asked", refused)
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        assert listening.listeners("tcp", server.getsockname()[1]) == {os.fstat(server.fileno()).st_ino}
