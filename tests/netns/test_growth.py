"""Nodes that come to a running lab and go from it, with real packets."""

from __future__ import annotations

import re

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import (
    Device,
    Interface,
    IpSupport,
    Ipv6Provisioning,
    LabSettings,
    NatV6,
    Region,
    RegionLink,
    Router,
    Topology,
)


def host(name: str, router: str, impair: LinkCondition | None = None) -> Device:
    return Device(name=name, interfaces=(Interface(name="eth0", gateway=router, impair=impair),))


def add(lab: LabClient, **parts: object) -> None:
    lab.change(commands.Extend(Topology(**parts)))  # type: ignore[arg-type]  # the fields of a topology


def pings(lab: LabClient, source: str, target: str, *options: str, check: bool = True) -> float:
    """The round trip in milliseconds; NaN for one that is not answered."""
    argv = ("ping", *options, "-c1", "-W2", target)
    done = lab.run(source, argv, check=False)
    assert not check or done.returncode == 0, done
    found = re.search(rb"time=([\d.]+) ms", done.stdout)
    return float(found[1]) if found else float("nan")


def test_a_network_that_comes_piece_by_piece(lab: LabClient) -> None:
    lab.build(Topology())
    add(lab, routers=(Router(name="dc"),))
    add(lab, devices=(host("server", "dc"),))
    add(lab, routers=(Router(name="isp", nat=nat_mode("cgnat")),))
    add(lab, routers=(Router(name="home", upstream="isp", nat=nat_mode("home")),), devices=(host("laptop", "home"),))
    add(lab, devices=(host("phone", "home"), host("witness", "dc")))
    for source in ("laptop", "phone", "witness", "home", "isp", "dc"):
        for family in ("-4", "-6"):
            pings(lab, source, "server", family)
    pings(lab, "laptop", "phone", "-4")
    assert pings(lab, "server", lab.state()["devices"]["laptop"]["interfaces"][0]["ip"], check=False) != 0


def test_what_comes_is_known_by_name_to_programs_that_run(lab: LabClient) -> None:
    lab.build(Topology(routers=(Router(name="dc"),), devices=(host("first", "dc"),)))
    assert lab.run("first", ("getent", "hosts", "second"), check=False).returncode == 2
    add(lab, devices=(host("second", "dc"),))
    assert b"second" in lab.run("first", ("getent", "hosts", "second")).stdout
    lab.change(commands.RemoveDevice("second"))
    assert lab.run("first", ("getent", "hosts", "second"), check=False).returncode == 2


def test_regions_and_links_between_old_and_new_ones(lab: LabClient) -> None:
    ten, clear = LinkCondition(latency_ms=10), LinkCondition()
    lab.build(Topology(regions=(Region(name="eu", towards={"us": ten}),), routers=(Router(name="paris", region="eu"),)))
    add(lab, regions=(Region(name="ap", towards={"eu": ten}),), routers=(Router(name="tokyo", region="ap"),))
    add(lab, routers=(Router(name="boston", region="us"),))
    add(lab, devices=(host("a", "paris"), host("b", "boston"), host("c", "tokyo")))
    for family in ("-4", "-6"):
        assert pings(lab, "a", "b", family) >= 20
        assert pings(lab, "c", "a", family) >= 20
        assert pings(lab, "b", "c", family, check=False) != 0  # no link, no way
    add(lab, region_links=(RegionLink("us", "ap", ten, clear),))
    for family in ("-4", "-6"):
        assert pings(lab, "b", "c", family) >= 10
    lab.change(commands.BreakRegionLink("ap", "us"))
    assert lab.run("b", ("ping", "-c1", "-W1", "c"), check=False).returncode == 1
    lab.change(commands.RestoreRegionLink("ap", "us"))
    pings(lab, "b", "c", "-6")


def test_conditions_translators_and_advertisements_of_what_comes(lab: LabClient) -> None:
    lab.build(
        Topology(
            routers=(Router(name="dc"),),
            devices=(host("server", "dc"),),
            lab=LabSettings(ipv6_provisioning=Ipv6Provisioning.RA),
        )
    )
    add(
        lab,
        routers=(
            Router(name="carrier", ip_support=IpSupport.V6_ONLY, nat_v6=NatV6.NAT64),
            Router(name="slow", downlink=LinkCondition(latency_ms=15)),
        ),
        devices=(host("phone", "carrier"), host("late", "slow", LinkCondition(latency_ms=20))),
    )
    address = lab.state()["devices"]["server"]["interfaces"][0]["ip"]
    pings(lab, "phone", "64:ff9b::" + address)
    pings(lab, "phone", "server", "-6")
    assert pings(lab, "late", "server", "-6") >= 35
    routes = lab.run("phone", ("ip", "-6", "route", "show", "default")).stdout
    assert b"proto ra" in routes


def test_what_goes_takes_its_programs_along_and_leaves_its_addresses_unused(lab: LabClient) -> None:
    lab.build(Topology(routers=(Router(name="dc"),), devices=(host("stays", "dc"), host("goes", "dc"))))
    before = lab.state()["devices"]["goes"]["interfaces"][0]
    sleeper = lab.popen("goes", ("sleep", "1000"))
    lab.change(commands.RemoveDevice("goes"))
    assert sleeper.wait() == -9
    assert "goes" not in lab.state()["devices"]
    assert lab.run("stays", ("ping", "-c1", "-W1", before["ip"]), check=False).returncode == 1
    with pytest.raises(LabError, match="no such node"):
        lab.popen("goes", ("true",))
    add(lab, devices=(host("goes", "dc"),))
    again = lab.state()["devices"]["goes"]["interfaces"][0]
    assert not set(before.values()) & (set(again.values()) - {"eth0", "dc", True, None})
    pings(lab, "stays", "goes", "-6")


def test_routers_go_when_nothing_is_behind_them(lab: LabClient) -> None:
    lab.build(
        Topology(
            routers=(Router(name="dc"), Router(name="home", nat=nat_mode("home"), uplink=LinkCondition(latency_ms=5))),
            devices=(host("server", "dc"), host("laptop", "home")),
        )
    )
    first = lab.state()["routers"]["home"]
    with pytest.raises(LabError, match="there is something behind it: laptop"):
        lab.change(commands.RemoveRouter("home"))
    pings(lab, "laptop", "server")
    lab.change(commands.Replug("laptop", "eth0", "dc"))
    lab.change(commands.RemoveRouter("home"))
    pings(lab, "laptop", "server")
    add(lab, routers=(Router(name="home", nat=nat_mode("home")),), devices=(host("tablet", "home"),))
    second = lab.state()["routers"]["home"]
    assert first["downstream"]["cidr"] != second["downstream"]["cidr"]
    assert first["uplink"]["ip"] != second["uplink"]["ip"]
    assert pings(lab, "tablet", "server") < 5


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        (Topology(routers=(Router(name="dc"),)), "a node of this name already"),
        (Topology(devices=(host("ix", "dc"),)), "a node of this name already"),
        (Topology(routers=(Router(name="region_eu"),)), "a node of this name already"),
        (Topology(devices=(host("d", "nowhere"),)), "'nowhere' of eth0 is not a router"),
        (Topology(devices=(Device(name="d", interfaces=()),)), "no interface"),
        (Topology(routers=(Router(name="r", upstream="nowhere"),)), "'nowhere' is not a router"),
        (Topology(routers=(Router(name="r", cidr="10.9.0.0/24"), Router(name="s", cidr="10.9.0.0/16"))), "overlaps"),
        (Topology(routers=(Router(name="r", cidr="10.7.0.0/16"),)), "overlaps dc"),
        (Topology(region_links=(RegionLink("eu", "mars", LinkCondition(), LinkCondition()),)), "no region 'mars'"),
        (Topology(region_links=(RegionLink("eu", "eu", LinkCondition(), LinkCondition()),)), "to itself"),
        (Topology(region_links=(RegionLink("us", "eu", LinkCondition(), LinkCondition()),)), "linked already"),
    ],
)
def test_a_refused_addition_changes_nothing(lab: LabClient, addition: Topology, message: str) -> None:
    regions = (Region(name="eu", towards={"us": LinkCondition()}),)
    lab.build(
        Topology(routers=(Router(name="dc", cidr="10.7.1.0/24"),), devices=(host("server", "dc"),), regions=regions)
    )
    before = lab.state()
    with pytest.raises(LabError, match=message):
        lab.change(commands.Extend(addition))
    assert lab.state() == before
    add(lab, devices=(host("other", "dc"),))
    pings(lab, "other", "server")
