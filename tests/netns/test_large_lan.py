"""A router with 1,000 devices, and a LAN longer than a bridge: everybody is reached in both families, nothing is lost.

Two members that have never spoken take an entry each in the kernel's neighbour tables, which all namespaces of the
host share and which hold 1,024 entries on stock hosts (`gc_thresh3`). In a LAN of this size an entry gives way after
seven to eleven seconds. Hence pairs in which no node appears twice, the second half of them a while after the first.
Gateways are known for good and take none.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any

import pytest

from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.commands import Family
from tests.unit.topologies import one_lan

pytestmark = pytest.mark.alone

_FAMILIES: dict[Family, str] = {"inet": "ip", "inet6": "ip_v6"}
_PAIRS_AT_A_TIME = 250
_BETWEEN_HALVES_S = 6.0
_PATIENCE_S = 3.0


def test_a_thousand_devices_reach_their_gateway_and_each_other(lab: LabClient) -> None:
    count = 1000
    state = lab.build(one_lan(count))
    pairs = [(f"d{n}", f"d{n + count // 2}") for n in range(count // 2)]
    lost = []
    for first in range(0, len(pairs), _PAIRS_AT_A_TIME):
        begin_s = time.monotonic()
        part = pairs[first : first + _PAIRS_AT_A_TIME]
        lost += _lost_between(lab, state, part)
        lost += _lost_at_gateway(lab, state, [node for pair in part for node in pair])
        if part[-1] != pairs[-1]:
            time.sleep(max(0.0, begin_s + _BETWEEN_HALVES_S - time.monotonic()))
    assert lost == []


@pytest.mark.parametrize(("members", "expected"), [(100, ["30000", "3"]), (101, ["4000", "0", "4194304"])])
def test_members_of_a_crowd_forget_each_other_soon(lab: LabClient, members: int, expected: list[str]) -> None:
    lab.build(one_lan(members))
    names = ("base_reachable_time_ms", "ucast_solicit", "unres_qlen_bytes")[: len(expected)]
    for _ in range(2):
        for family in ("ipv4", "ipv6"):
            files = [f"/proc/sys/net/{family}/neigh/eth0/{name}" for name in names]
            assert lab.run("d1", ["cat", *files]).stdout.decode().split() == expected
        lab.link_down("d1", "eth0")
        lab.link_up("d1", "eth0")


def test_members_on_different_bridges_of_a_long_lan_talk(lab: LabClient) -> None:
    """2,500 members take three bridges; the last member is on the third."""
    state = lab.build(one_lan(2500))
    numbers = (0, 998, 1001, 1998, 2001, 2499)
    pairs = [(f"d{a}", f"d{b}") for a in numbers for b in numbers if a < b]
    assert _lost_between(lab, state, pairs) == []
    assert _lost_at_gateway(lab, state, [f"d{number}" for number in numbers]) == []


def _lost_between(lab: LabClient, state: dict[str, Any], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """The exchanges between two devices that failed: a packet there, one back."""
    lost = []
    for one, other in pairs:
        interface = state["devices"][other]["interfaces"][0]
        for family, key in _FAMILIES.items():
            with lab.socket(other, family, "dgram") as server:
                server.bind((interface[key], 0))
                if not _exchange(lab, one, server, family):
                    lost.append(f"{one} to {other}, {family}")
    return lost


def _lost_at_gateway(lab: LabClient, state: dict[str, Any], devices: Iterable[str]) -> list[str]:
    """The exchanges of devices with their router that failed."""
    lost = []
    for family, key in _FAMILIES.items():
        with lab.socket("r", family, "dgram") as server:
            server.bind((state["routers"]["r"]["downstream"][key], 0))
            lost += [f"{device} to r, {family}" for device in devices if not _exchange(lab, device, server, family)]
    return lost


def _exchange(lab: LabClient, node: str, server: socket.socket, family: Family) -> bool:
    with lab.socket(node, family, "dgram") as client:
        for each in (client, server):
            each.settimeout(_PATIENCE_S)
        question = node.encode()
        try:
            client.sendto(question, server.getsockname())
            received, source = server.recvfrom(100)
            server.sendto(received, source)
            return client.recv(100) == question
        except TimeoutError:
            return False
