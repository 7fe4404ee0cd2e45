"""A narrow link narrows the path through it and no other: a bridge does not take on its members' smallest MTU."""

from __future__ import annotations

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.topology import Device, Interface, Router, Topology


def device(name: str, gateway: str, mtu: int | None = None) -> Device:
    return Device(name=name, interfaces=(Interface(name="eth0", gateway=gateway),), mtu=mtu)


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_a_narrow_link_narrows_nobody_else(lab: LabClient, family: str) -> None:
    lab.build(
        Topology(
            routers=(Router(name="dc"), Router(name="home"), Router(name="vpn", mtu=1420)),
            devices=(
                device("server", "dc"),
                device("neighbour", "home"),
                device("narrow", "home", mtu=1400),
                device("roamer", "vpn", mtu=1300),
            ),
        )
    )

    def passes(source: str, target: str, size: int) -> bool:
        address = lab.state()["devices"][target]["interfaces"][0][family]
        headers = 28 if family == "ip" else 48
        options = ["-n", "-c1", "-W1", "-M", "do", "-s", str(size - headers)]
        return lab.run(source, ["ping", *options, address], check=False).returncode == 0

    for source, target in (("server", "neighbour"), ("neighbour", "server")):
        assert passes(source, target, 1500)
    assert not passes("neighbour", "narrow", 1420)
    # Nor does one that comes later.
    lab.change(commands.Replug("roamer", "eth0", "dc"))
    assert passes("server", "neighbour", 1500)
    assert passes("neighbour", "server", 1500)
    assert passes("roamer", "neighbour", 1300)
