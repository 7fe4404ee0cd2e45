"""The wait for devices whose kernels configure themselves: by advertisements, or after probing for duplicates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from typing import Literal

import msgspec

from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.netlink import IFA_F_DADFAILED, IFA_F_TENTATIVE, LinkAddress, NetlinkSocket
from patchbay_runner.kernel.sysctl import Sysctls
from patchbay_runner.lab.addressing import Port
from patchbay_runner.lab.advertising import Advertising
from patchbay_runner.lab.blueprint import InterfaceBlueprint
from patchbay_runner.lab.provisioning import forming_sysctl
from patchbay_runner.lab.requests import ipv6_address_requests

# Two addresses, a second of probing each, on a host that is busy.
BUILD_PATIENCE_S = 30.0
CHANGE_PATIENCE_S = 10.0

# A host asks again after 4 s (RFC 4861, section 10); an impaired link may have lost its question, or the answer.
_FIRST_REMINDER_S = 0.1
_REMINDER_SPACING_S = 0.2
_SHORTEST_LOOK_S, _LONGEST_LOOK_S = 0.002, 0.05

Lack = Literal["address", "verdict", "default route", "unique address"]


class Missing(msgspec.Struct, frozen=True):
    """What a port lacks: an address; the verdict whether it is unique, for which it is probing, or an address of which
    it is known; the default route.
    """

    port: Port
    what: Lack

    def __str__(self) -> str:
        return f"{self.port.interface} has no IPv6 {'address' if self.what == 'verdict' else self.what}"


def missing(
    interface: InterfaceBlueprint, addresses: Iterable[LinkAddress], routes: Iterable[netlink.Route], *, is_routed: bool
) -> Missing | None:
    """What an interface lacks, None if nothing. `is_routed` means that it has to learn a default route. Pure."""
    port = interface.port
    if port.v6 is None or port.link_local is None:
        return None
    flags = {each.address: each.flags for each in addresses if each.ifindex == interface.index}
    wanted = [flags.get(address) for address in (port.link_local, port.v6.ip)]
    there = [found for found in wanted if found is not None]
    if any(found & IFA_F_DADFAILED for found in there):
        return Missing(port, "unique address")
    if any(found & IFA_F_TENTATIVE for found in there):
        return Missing(port, "verdict")
    if len(there) < len(wanted):
        return Missing(port, "address")
    defaults = (route for route in routes if route.prefix_length == 0 and isinstance(route.gateway, IPv6Address))
    if is_routed and not any(route.oif == interface.index for route in defaults):
        return Missing(port, "default route")
    return None


class Settling:
    """Remembers which devices have something to take in, and waits for them.

    `interfaces_of` gives a device's interfaces that are up, as they are planned at the time.
    """

    def __init__(
        self,
        advertising: Advertising,
        interfaces_of: Callable[[str], Sequence[InterfaceBlueprint]],
        namespaces: Callable[[], Mapping[str, int]],
    ) -> None:
        self._advertising = advertising
        self._interfaces_of = interfaces_of
        self._namespaces = namespaces
        self._devices: dict[str, None] = {}

    def expect(self, device: str) -> None:
        """Something about the device's interfaces has changed."""
        self._devices[device] = None

    async def settle(self, patience_s: float) -> list[Missing]:
        """Waits until nothing is missing, or patience is at its end; returns what is missing then."""
        devices, self._devices = self._devices, {}
        if not devices:
            return []
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + patience_s
        look_s = _SHORTEST_LOOK_S
        reminders = _Reminders(self._advertising)
        self._begin(devices)
        lacking = self._look(devices)
        while any(each.what != "unique address" for each in lacking) and loop.time() < give_up_s:
            reminders.send(lacking, loop.time())
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LONGEST_LOOK_S)
            lacking = self._look(each.port.node for each in lacking)
        return lacking

    def _begin(self, devices: Iterable[str]) -> None:
        """Has interfaces make their IPv6 addresses, now that their links carry frames. Safe to repeat.

        What a kernel says before that is lost: nobody would object to an address, and it asks routers again after 4 s.
        """
        sysctls = Sysctls()
        try:
            for device in devices:
                beginning = [each for each in self._interfaces_of(device) if each.configures_itself]
                forming = [forming_sysctl(each.port.interface) for each in beginning if each.port.is_slaac]
                given = [each for each in beginning if not each.port.is_slaac]
                with entered(self._namespaces()[device]):
                    sysctls.write(device, forming)
                    with NetlinkSocket(device) as sock:
                        sock.batch([request for each in given for request in ipv6_address_requests(each)])
        finally:
            sysctls.close()

    def _look(self, devices: Iterable[str]) -> list[Missing]:
        return [each for device in dict.fromkeys(devices) for each in self._missing_of(device)]

    def _missing_of(self, device: str) -> list[Missing]:
        with NetlinkSocket.inside(self._namespaces()[device], device) as sock:
            addresses, routes = netlink.dump_addresses(sock), netlink.dump_routes(sock)
        judged = (
            missing(interface, addresses, routes, is_routed=self._advertising.is_default(interface))
            for interface in self._interfaces_of(device)
        )
        return [each for each in judged if each is not None]


class _Reminders:
    """Routers tell again what hosts may have missed."""

    def __init__(self, advertising: Advertising) -> None:
        self._advertising = advertising
        self._due_s: dict[Port, float] = {}

    def send(self, lacking: Iterable[Missing], now_s: float) -> None:
        """What is due."""
        hosts: dict[str, list[IPv6Address]] = {}
        for each in lacking:
            port = each.port
            if each.what in ("address", "default route") and port.is_slaac and port.link_local is not None:
                # Who has its addresses does not ask for a route.
                first_s = now_s if each.what == "default route" else now_s + _FIRST_REMINDER_S
                if self._due_s.setdefault(port, first_s) <= now_s:
                    self._due_s[port] = now_s + _REMINDER_SPACING_S
                    hosts.setdefault(port.lan, []).append(port.link_local)
        for router, asking in hosts.items():
            self._advertising.tell(router, asking)
