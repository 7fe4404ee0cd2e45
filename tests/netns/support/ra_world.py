"""A router that advertises and hosts that configure themselves, driven from the loop of a sandbox's agent."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from support.sandbox_inside import Ended, spawn

from patchbay_runner.kernel import netlink, process
from patchbay_runner.kernel.namespaces import entered, new_network_namespace
from patchbay_runner.kernel.ndp import PrefixInformation, RouterAdvertisement, interface_identifier
from patchbay_runner.kernel.netlink import LOOPBACK_IFINDEX, LinkEnd, NetlinkSocket
from patchbay_runner.kernel.router_advertisements import (
    AdvertiserConfig,
    RouterAdvertiser,
    open_socket,
    slaac_sysctls,
)
from patchbay_runner.kernel.sysctl import Sysctls

PREFIX = IPv6Network("fd10:0:0:1::/64")
ROUTER_MAC = bytes.fromhex("027062000001")
ROUTER_LINK_LOCAL = IPv6Address(b"\xfe\x80" + bytes(6) + interface_identifier(ROUTER_MAC))
LAN, ETHERNET = 3, 2
ADVERTISEMENT = RouterAdvertisement(
    lifetime_s=1800, source_mac=ROUTER_MAC, mtu=1420, prefixes=(PrefixInformation(PREFIX),)
)


class Host:
    """A namespace with an interface on the LAN, which is down at first."""

    def __init__(self, number: int, router: int, sysctls: Sysctls, dad: bool) -> None:
        self.mac = ROUTER_MAC[:4] + (number + 2).to_bytes(2)
        self.netns = new_network_namespace()
        with entered(self.netns):
            sysctls.write("host", slaac_sysctls(dad=dad))
        self.netlink = NetlinkSocket.inside(self.netns, "host")
        near = LinkEnd(f"p{number}", ifindex=16 + number, netns_fd=router, up=True)
        far = LinkEnd("eth0", mac=self.mac, ifindex=ETHERNET)
        self.netlink.batch([netlink.set_up(LOOPBACK_IFINDEX), netlink.veth(near, far, master=LAN)])

    def set_up(self, up: bool = True) -> None:
        self.netlink.request(netlink.set_up(ETHERNET, up))

    def addresses(self) -> set[IPv6Address]:
        """Usable addresses that are not link-local."""
        tentative = 0x40
        return {
            found.address
            for found in netlink.dump_addresses(self.netlink)
            if found.ifindex == ETHERNET
            and isinstance(found.address, IPv6Address)
            and not found.address.is_link_local
            and not found.flags & tentative
        }

    def default_gateways(self) -> list[Any]:
        routes = netlink.dump_routes(self.netlink)
        return [route.gateway for route in routes if route.prefix_length == 0 and route.gateway is not None]

    def send_solicitation(self, hop_limit: int = 255) -> None:
        """Sends a Router Solicitation from the unspecified address, as a frame of our own making."""
        group = IPv6Address("ff02::2").packed
        message = bytearray(bytes.fromhex("8500000000000000"))
        pseudo = bytes(16) + group + struct.pack("!II", len(message), 58) + message
        message[2:4] = struct.pack("!H", internet_checksum(pseudo))
        header = struct.pack("!IHBB", 0x60000000, len(message), 58, hop_limit) + bytes(16) + group
        frame = b"\x33\x33" + group[-4:] + self.mac + b"\x86\xdd" + header + message
        with entered(self.netns):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sock:
            sock.bind(("eth0", 0))
            sock.send(frame)


class World:
    """A router whose LAN bridge is up, an advertiser that has not started, and what it tells."""

    def __init__(self, hosts: int = 1, *, dad: bool = False, **config: Any) -> None:
        self.router = new_network_namespace()
        sysctls = Sysctls()
        with entered(self.router):
            settings = (("ipv6/conf/all/forwarding", "1"), ("ipv6/conf/default/accept_ra", "0"))
            sysctls.write("router", settings)
        self.netlink = NetlinkSocket.inside(self.router, "router")
        self.netlink.batch(
            [
                netlink.set_up(LOOPBACK_IFINDEX),
                netlink.bridge("lan", ifindex=LAN, mac=ROUTER_MAC),
                netlink.no_generated_addresses(LAN),
            ]
        )
        self.hosts = [Host(number, self.router, sysctls, dad) for number in range(hosts)]
        self.netlink.batch(
            [
                netlink.set_up(LAN),
                netlink.add_address(LAN, ROUTER_LINK_LOCAL, 64),
                netlink.add_address(LAN, PREFIX.network_address + 1, 64),
            ]
        )
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.config = AdvertiserConfig(**{"interface": "lan", "ifindex": LAN, "advertisement": ADVERTISEMENT, **config})
        self.advertiser = RouterAdvertiser(open_socket(self.router, self.config, "router"), self.config, self._emit)

    def _emit(self, kind: str, /, **fields: Any) -> None:
        self.events.append((kind, fields))

    def questions(self) -> int:
        """Router Solicitations that have come to the router, read or not."""
        with entered(self.router):
            counters = Path("/proc/thread-self/net/snmp6").read_text().split()
        return int(counters[counters.index("Icmp6InRouterSolicits") + 1])

    def told(self, kind: str) -> list[dict[str, Any]]:
        return [fields for event, fields in self.events if event == kind]


def internet_checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


async def until(holds: Callable[[], bool], timeout_s: float = 20) -> float:
    """Waits while the loop goes on; returns how long it took, in seconds."""
    started_s = time.monotonic()
    while not holds():
        assert time.monotonic() - started_s < timeout_s, "it did not happen in time"
        await asyncio.sleep(0.001)
    return time.monotonic() - started_s


async def run(netns: int, *argv: str, timeout_s: float = 25) -> Ended:
    """Runs a program in a namespace to its end while the loop goes on."""
    with os.fdopen(os.memfd_create("output"), "r+", errors="replace") as output:
        pid = spawn(process.NodeView(netns), argv, output.fileno())
        codes: list[int] = []

        def ended() -> bool:
            code = process.reap(pid)
            codes.extend([] if code is None else [code])
            return code is not None

        try:
            await until(ended, timeout_s)
        finally:
            if not codes:
                process.signal_group(pid, 9)
                process.wait(pid)
        output.seek(0)
        return Ended(codes[0], output.read())
