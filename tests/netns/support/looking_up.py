"""Programs of a lab that look names up, and servers that are found by them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.topology import Device, Interface

LOOK_UP = """
import socket, sys
print(*sorted({found[4][0] for found in socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)}))
"""


def device(name: str, *gateways: str, names: tuple[NameRecord, ...] = ()) -> Device:
    """A device with an interface at each of the gateways."""
    interfaces = tuple(Interface(name=f"eth{i}", gateway=gateway) for i, gateway in enumerate(gateways))
    return Device(name=name, interfaces=interfaces, names=names)


def addresses(lab: LabClient, node: str, interface: int = 0) -> list[str]:
    """The addresses of a device's interface, IPv4 first."""
    found = lab.state()["devices"][node]["interfaces"][interface]
    return [address for address in (found["ip"], found["ip_v6"]) if address]


def said(lab: LabClient, node: str, *argv: str, code: int = 0) -> str:
    """What a program prints that is to end so."""
    ended = lab.run(node, argv, check=False)
    assert ended.returncode == code, (argv, ended.stdout, ended.stderr)
    return ended.stdout.decode().strip()


def look_up(lab: LabClient, node: str, name: str) -> list[str]:
    """What Python finds by the C library, IPv4 first."""
    found = said(lab, node, sys.executable, "-Sc", LOOK_UP, name).split()
    return sorted(found, key=lambda address: ":" in address)


def dig(lab: LabClient, node: str, *question: str) -> list[str]:
    """The lines of the answer, aliases included."""
    return said(lab, node, "dig", "+short", *question).splitlines()


@contextmanager
def running(lab: LabClient, node: str, *argv: str) -> Iterator[None]:
    """A program that runs meanwhile, and has said by now that it is ready."""
    reading, writing = os.pipe()
    try:
        process = lab.popen(node, argv, stdout=writing, stderr=writing)
    finally:
        os.close(writing)
    try:
        assert os.read(reading, 1000), "it ended before it was ready"
        yield
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def web_server(lab: LabClient, node: str, address: str = "::") -> AbstractContextManager[None]:
    """A web server on port 80."""
    serve = (sys.executable, "-u", "-m", "http.server", "--bind", address, "--directory", "/usr/share/doc", "80")
    return running(lab, node, *serve)


def fetched_from(lab: LabClient, node: str, name: str, *options: str) -> str:
    """The address that curl gets a page from."""
    shown = said(
        lab, node, "curl", "-sS", "--max-time", "20", *options, "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}",
        f"http://{name}/",
    )  # fmt: skip
    code, address = shown.split()
    assert code == "200"
    return address
