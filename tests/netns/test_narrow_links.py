"""A narrow link narrows the path through it and no other: a bridge does not take on its members' smallest MTU."""

from __future__ import annotations

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.topology import Device, Interface, IpSupport, Ipv6Provisioning, LabSettings, Router, Topology


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


@pytest.mark.parametrize("provisioning", ["static", "ra"])
def test_links_too_narrow_for_ipv6_carry_ipv4(lab: LabClient, provisioning: str) -> None:
    """The kernel takes IPv6 off interfaces of less than 1,280 bytes."""
    slow = Interface(name="eth0", gateway="narrow", impair=LinkCondition(latency_ms=1))
    lab.build(
        Topology(
            routers=(
                Router(name="dc"),
                Router(name="narrow", ip_support=IpSupport.V4_ONLY, mtu=576),
                Router(name="wide", ip_support=IpSupport.V4_ONLY),
            ),
            devices=(device("server", "dc"), device("thin", "wide", mtu=600), Device(name="slow", interfaces=(slow,))),
            lab=LabSettings(ipv6_provisioning=Ipv6Provisioning(provisioning)),
        )
    )

    def passes(source: str, target: str, size: int) -> bool:
        address = lab.state()["devices"][target]["interfaces"][0]["ip"]
        options = ["-n", "-c2", "-i0.1", "-W1", "-M", "do", "-s", str(size - 28)]
        return lab.run(source, ["ping", *options, address], check=False).returncode == 0

    for _ in range(2):
        assert passes("server", "slow", 576)
        assert not passes("server", "slow", 577)
        assert passes("server", "thin", 600)
        assert not passes("server", "thin", 601)
        # Nor do they need it later.
        lab.change(commands.RebootRouter("narrow", 0.05))
        for name in ("thin", "slow"):
            lab.change(commands.LinkDown(name, "eth0"))
            lab.change(commands.LinkUp(name, "eth0"))
    lab.change(commands.Replug("thin", "eth0", "narrow"))
    assert passes("server", "thin", 576)
