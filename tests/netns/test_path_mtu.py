"""What does not fit is answered, or disappears without a word where a router keeps the answers back."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Self

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, Router, Topology

ETH_P_ALL = 3
NARROW = 1400
SIZE = 64 << 10


def device(name: str, gateway: str, mtu: int | None = None) -> Device:
    return Device(name=name, interfaces=(Interface(name="eth0", gateway=gateway),), mtu=mtu)


class World:
    """A server, one beyond a narrow link, and the same narrow networks twice: of routers that tell and that do not."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        routers, devices = [Router(name="dc")], [device("server", "dc"), device("far", "dc", 1300)]
        for kind, is_black_hole in (("told", False), ("hole", True)):
            routers += [
                Router(name=f"wide-{kind}", block_icmp_frag_needed=is_black_hole),
                Router(name=f"vpn-{kind}", mtu=NARROW, block_icmp_frag_needed=is_black_hole),
                Router(name=f"nat-{kind}", mtu=NARROW, block_icmp_frag_needed=is_black_hole, nat=nat_mode("home")),
                Router(name=f"under-{kind}", mtu=NARROW, upstream=f"wide-{kind}"),
            ]
            devices += [
                device(f"narrow-{kind}", f"wide-{kind}", NARROW),
                *(device(f"{place}-{kind}-host", f"{place}-{kind}") for place in ("vpn", "nat", "under")),
            ]
        self.state = lab.build(Topology(routers=tuple(routers), devices=tuple(devices)))

    def address(self, name: str, family: str) -> str:
        found = self.state["devices"][name]["interfaces"][0][family]
        assert isinstance(found, str)
        return found

    def ping(self, source: str, target: str, size: int, family: str, wait_s: float) -> tuple[bool, int]:
        """Whether an unfragmented packet of `size` bytes is answered, and how many errors about its size come back."""
        headers = 28 if family == "ip" else 48
        command = ["ping", "-n", "-c1", "-W", str(wait_s), "-M", "do", "-s", str(size - headers)]
        with self.lab.socket(source, "packet", "raw", socket.htons(ETH_P_ALL)) as seen:
            seen.setblocking(False)
            done = self.lab.run(source, [*command, self.address(target, family)], check=False)
            return done.returncode == 0, sum(map(is_about_size, received(seen)))


def received(sock: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            yield sock.recv(65_536)
        except BlockingIOError:
            return


def is_about_size(frame: bytes) -> bool:
    """ "Fragmentation needed" or "packet too big" in an Ethernet frame."""
    if frame[12:14] == b"\x08\x00":
        return frame[23] == 1 and frame[34:36] == b"\x03\x04"
    return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 2


@pytest.fixture(scope="module")
def world(new_lab: Callable[[], LabClient]) -> World:
    return World(new_lab())


WAYS = {
    "into a LAN with a narrow member": ("server", "narrow-{}", 1500),
    "into a narrow router": ("server", "vpn-{}-host", 1500),
    "into a narrow router behind it": ("server", "under-{}-host", 1500),
    "out of a narrow router": ("vpn-{}-host", "server", 1500),
    "out of a narrow router with a NAT": ("nat-{}-host", "server", 1500),
    "out of a wide router to a narrow place": ("narrow-{}", "far", NARROW),
}


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
@pytest.mark.parametrize("way", WAYS)
def test_a_black_hole_swallows_what_others_answer(world: World, way: str, family: str) -> None:
    source, target, size = WAYS[way]
    told, hole = ((source.format(kind), target.format(kind)) for kind in ("told", "hole"))
    assert world.ping(*told, size, family, 5) == (False, 1)
    assert world.ping(*hole, size, family, 0.3) == (False, 0)
    assert world.ping(*hole, 1280, family, 5) == (True, 0)


class Transfer:
    """A TCP connection from a device to the server, and `SIZE` bytes that one of both sends the other."""

    def __init__(self, world: World, name: str, sender: str, family: str) -> None:
        kind: commands.Family = "inet" if family == "ip" else "inet6"
        self._stack = ExitStack()
        listener = self._stack.enter_context(world.lab.socket("server", kind))
        client = self._stack.enter_context(world.lab.socket(name, kind))
        listener.bind(("", 0))
        listener.listen()
        client.settimeout(10)
        client.connect((world.address("server", family), listener.getsockname()[1]))
        server = self._stack.enter_context(listener.accept()[0])
        source, self._sink = (server, client) if sender == "server" else (client, server)
        self._left = SIZE
        source.settimeout(30)
        self._thread = threading.Thread(target=self._send, args=(source,))
        self._thread.start()

    def _send(self, source: socket.socket) -> None:
        try:
            source.sendall(bytes(SIZE))
        except OSError:
            return  # the connection was closed by a test that had seen enough

    def finishes(self, patience_s: float) -> bool:
        """Whether everything has arrived by then."""
        deadline_s = time.monotonic() + patience_s
        while self._left and (wait_s := deadline_s - time.monotonic()) > 0:
            self._sink.settimeout(wait_s)
            try:
                self._left -= len(self._sink.recv(SIZE))
            except TimeoutError:
                return False
        return not self._left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._thread.join()


@pytest.mark.parametrize(
    ("place", "sender", "family"),
    [("vpn", "server", "ip"), ("vpn", "device", "ip_v6"), ("nat", "server", "ip_v6"), ("nat", "device", "ip")],
)
def test_a_stream_stalls_in_a_black_hole_until_its_sender_probes(
    world: World, place: str, sender: str, family: str
) -> None:
    with Transfer(world, f"{place}-told-host", sender, family) as told:
        assert told.finishes(10)
    host = f"{place}-hole-host"
    source = "server" if sender == "server" else host
    # Probing begins when this many retransmissions were lost: three by default, which take seconds.
    world.lab.run(source, ["sysctl", "-qw", "net.ipv4.tcp_mtu_probing=0", "net.ipv4.tcp_retries1=1"])
    with Transfer(world, host, sender, family) as stalled:
        assert not stalled.finishes(0.5)
        world.lab.run(source, ["sysctl", "-qw", "net.ipv4.tcp_mtu_probing=1"])
        assert stalled.finishes(20)


def test_a_black_hole_stays_one_when_its_nat_changes(world: World) -> None:
    for mode in ("cgnat", "none", "home"):
        world.lab.change(commands.SetNat("nat-hole", nat_mode(mode)))
        world.lab.change(commands.FlushNat("nat-hole"))
        assert world.ping("nat-hole-host", "server", 1280, "ip", 5) == (True, 0)
        assert world.ping("nat-hole-host", "server", 1500, "ip", 0.3) == (False, 0)
