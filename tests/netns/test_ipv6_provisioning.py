"""Labs whose devices configure IPv6 themselves: real advertisements, real kernels, through every change."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab import commands, running
from patchbay_runner.lab.agent import serve_lab
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import (
    Device,
    Interface,
    Ipv6Provisioning,
    LabSettings,
    Router,
    RouterAdvertisements,
    Topology,
)
from tests.netns.support.running import Project

SIM = Path(__file__).parents[2] / "sims" / "ipv6-autoconfiguration.toml"

RA = LabSettings(ipv6_provisioning=Ipv6Provisioning.RA)
RA_AND_DAD = LabSettings(ipv6_provisioning=Ipv6Provisioning.RA, ipv6_dad=True)
STATIC_AND_DAD = LabSettings(ipv6_dad=True)
PATIENCE_S = 20.0

ROUTERS = (
    Router(name="dc"),
    Router(name="home", nat=nat_mode("home"), mtu=1420),
    Router(name="brief", mtu=1420, ra=RouterAdvertisements(interval_s=1, lifetime_s=4)),
    Router(name="cell", nat=nat_mode("cgnat")),
    Router(name="sub", upstream="home"),
    Router(name="quiet", ra=RouterAdvertisements(enabled=False)),
    Router(name="aside", ra=RouterAdvertisements(lifetime_s=0)),
)


def device(name: str, *gateways: str, impair: LinkCondition | None = None) -> Device:
    interfaces = tuple(Interface(name=f"eth{i}", gateway=each, impair=impair) for i, each in enumerate(gateways))
    return Device(name=name, interfaces=interfaces)


class World:
    """A network with settings, and what its devices say of themselves."""

    def __init__(self, lab: LabClient, *devices: Device, settings: LabSettings = RA) -> None:
        self.lab = lab
        lab.build(Topology(routers=ROUTERS, devices=(device("server", "dc"), *devices), lab=settings))

    def planned(self, name: str, interface: str = "eth0") -> str:
        """The IPv6 address that everybody is told."""
        interfaces = self.lab.state()["devices"][name]["interfaces"]
        return str(next(each["ip_v6"] for each in interfaces if each["name"] == interface))

    def output(self, node: str, *command: str) -> str:
        return self.lab.run(node, command).stdout.decode()

    def addresses(self, name: str, interface: str = "eth0", *flags: str) -> list[str]:
        """The addresses that the kernel has and that are not link-local."""
        shown = self.output(name, "ip", "-6", "addr", "show", "dev", interface, "scope", "global", *flags)
        return re.findall(r"inet6 ([0-9a-f:]+)/64", shown)

    def default_routes(self, name: str) -> list[str]:
        shown = self.output(name, "ip", "-6", "route", "show", "default")
        return [line for line in shown.splitlines() if line.strip()]

    def reaches(self, name: str, target: str = "server") -> bool:
        """Whether one packet gets there and one comes back."""
        ping = ["ping", "-6", "-n", "-c1", "-W3", self.planned(target)]
        return self.lab.run(name, ping, check=False).returncode == 0

    def has_way(self, name: str) -> bool:
        """Whether a route leads to the server."""
        asked = self.lab.run(name, ["ip", "-6", "route", "get", self.planned("server")], check=False)
        return asked.returncode == 0

    def is_configured(self, name: str, interface: str = "eth0") -> bool:
        """Whether the device is where it should be, with no wait for it."""
        (route,) = self.default_routes(name)
        is_learned = "proto ra" in route and f"dev {interface}" in route
        return is_learned and self.addresses(name, interface) == [self.planned(name, interface)] and self.reaches(name)

    @contextmanager
    def capture(self, node: str, *options: str) -> Iterator[Callable[[], str]]:
        """tcpdump of Router Discovery, which listens when the body begins; gives what it has printed."""
        with (
            os.fdopen(os.memfd_create("packets"), "w+b", buffering=0) as packets,
            os.fdopen(os.memfd_create("messages"), "w+b", buffering=0) as messages,
        ):
            argv = ["tcpdump", "--immediate-mode", "-lnnvv", *options]
            tcpdump = self.lab.popen(node, argv, stdout=packets, stderr=messages)
            try:
                until(lambda: b"listening on" in os.pread(messages.fileno(), 4096, 0))
                yield lambda: os.pread(packets.fileno(), 1 << 20, 0).decode()
            finally:
                tcpdump.kill()
                tcpdump.wait()


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


def test_every_device_is_configured_when_the_lab_is_built(lab: LabClient) -> None:
    devices = [device(f"d{number}", "cell") for number in range(20)]
    world = World(lab, device("phone", "home", "cell"), device("deep", "sub"), *devices)
    for name in ("phone", "deep", "d0", "d19"):
        assert world.is_configured(name)
    # Both interfaces have an address, and only the default one a route.
    assert world.addresses("phone", "eth1") == [world.planned("phone", "eth1")]
    # The address comes from the hardware address, and its lifetimes from the advertisement.
    mac = lab.state()["devices"]["phone"]["interfaces"][0]["mac"].split(":")
    assert world.planned("phone").endswith(f":70:{mac[2]}ff:fe{mac[3]}:{int(mac[4] + mac[5], 16):x}")
    shown = world.output("phone", "ip", "-6", "addr", "show", "dev", "eth0", "dynamic")
    assert re.search(r"valid_lft 86[34]\d\dsec preferred_lft 14[34]\d\dsec", shown)
    assert "mtu 1420" in world.default_routes("phone")[0]
    assert "mtu" not in world.default_routes("deep")[0]
    # A router's own uplink is the plan's, and it hears no advertisements of its upstream.
    assert "proto static" in world.default_routes("sub")[0]


def test_routers_that_are_no_default_routers(lab: LabClient) -> None:
    world = World(lab, device("a", "quiet"), device("b", "aside"), device("c", "aside", "home"))
    assert world.planned("a").endswith("::2")
    assert world.addresses("a", "eth0", "permanent") == [world.planned("a")]
    assert world.addresses("b", "eth0", "dynamic") == [world.planned("b")]
    assert world.default_routes("a") == world.default_routes("b") == world.default_routes("c") == []
    assert not world.reaches("b")
    lab.set_default_route("c", "eth1")
    assert world.is_configured("c", "eth1")
    lab.set_default_route("c", "eth0")
    assert world.default_routes("c") == []


def test_solicitation_and_advertisement_are_on_the_wire(lab: LabClient) -> None:
    world = World(lab, device("phone", "cell"))
    gateway = lab.state()["routers"]["cell"]["downstream"]
    lab.link_down("phone", "eth0")
    # Of all interfaces, because a capture of one ends when that goes down.
    with world.capture("phone", "-i", "any", "icmp6 and (ip6[40] == 133 or ip6[40] == 134)") as captured:
        lab.link_up("phone", "eth0")
        assert world.is_configured("phone")
        until(lambda: "router advertisement" in captured())
        packets = captured()
    own = lab.state()["devices"]["phone"]["interfaces"][0]["ll_v6"]
    assert re.search(rf"hlim 255, next-header ICMPv6.*{own} > ff02::2: .*router solicitation", packets), packets
    (_, answer) = packets.split("router advertisement", 1)
    assert re.search(rf"{gateway['ll_v6']} > {own}: ", packets)
    assert "router lifetime 1800s" in answer
    prefix = gateway["cidr_v6"]
    assert re.search(
        rf"prefix info option \(3\).*: {prefix}, Flags \[onlink, auto\], valid time 86400s, pref. time 14400s", answer
    )
    assert f"source link-address option (1), length 8 (1): {gateway['mac']}" in answer
    assert "mtu option" not in answer


def test_advertisements_come_in_their_interval(lab: LabClient) -> None:
    world = World(lab, device("phone", "brief"))
    with world.capture("phone", "-tt", "-i", "eth0", "icmp6 and dst ff02::1 and ip6[40] == 134") as captured:
        until(lambda: captured().count("router advertisement") >= 5)
        packets = captured()
    times = [float(found) for found in re.findall(r"^(\d+\.\d+) IP6", packets, re.MULTILINE)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    # RFC 4861, section 6.2.1: from three quarters of the longest interval to the whole of it; a busy loop is late.
    assert min(gaps) >= 0.7
    assert median(gaps) < 1.5
    assert packets.count("router lifetime 4s") == packets.count("router advertisement")
    assert packets.count("mtu option (5), length 8 (1):  1420") == packets.count("router advertisement")


def test_the_default_route_ends_with_its_lifetime_and_comes_back(lab: LabClient) -> None:
    world = World(lab, device("phone", "brief"))
    assert world.reaches("phone")
    mute = "table inet mute { chain out { type filter hook output priority 0; icmpv6 type nd-router-advert drop; }; }"
    lab.run("brief", ["nft", mute])
    started_s = time.monotonic()
    # The kernel shows a route that is over until it next tidies up, and does not use it.
    until(lambda: not world.has_way("phone"))
    # The last advertisement was about a second old at most, and lasted for four.
    assert time.monotonic() - started_s > 1
    assert world.addresses("phone") == [world.planned("phone")]
    assert not world.reaches("phone")
    lab.run("brief", ["nft", "delete", "table", "inet", "mute"])
    until(lambda: world.has_way("phone"))
    assert world.is_configured("phone")


def test_changes_keep_both_families_working(lab: LabClient) -> None:
    world = World(lab, device("phone", "cell", "home"))
    server = lab.state()["devices"]["server"]["interfaces"][0]["ip"]

    def is_online(interface: str = "eth0") -> bool:
        lab.run("phone", ["ping", "-n", "-c1", "-W3", server])
        return world.is_configured("phone", interface)

    for _ in range(3):
        lab.link_down("phone", "eth0")
        assert world.default_routes("phone") == world.addresses("phone") == []
        lab.link_up("phone", "eth0")
        assert is_online()
    lab.set_default_route("phone", "eth1")
    assert is_online("eth1")
    lab.link_down("phone", "eth0")
    lab.set_default_route("phone", "eth0")
    assert world.default_routes("phone") == []
    lab.link_up("phone", "eth0")
    assert is_online()
    lab.change(commands.Replug("phone", "eth0", "sub"))
    assert is_online()
    before = lab.state()["devices"]["phone"]["interfaces"][0]
    lab.change(commands.RenewAddress("phone", "eth0"))
    after = lab.state()["devices"]["phone"]["interfaces"][0]
    assert (after["ip_v6"], after["ip"] == before["ip"]) == (before["ip_v6"], False)
    assert is_online()
    lab.change(commands.Replug("phone", "eth0", "quiet"))
    assert world.default_routes("phone") == []
    assert world.addresses("phone") == [world.planned("phone")]
    lab.change(commands.AddInterface("phone", "wlan0", "cell"))
    assert world.addresses("phone", "wlan0") == [world.planned("phone", "wlan0")]
    lab.change(commands.RemoveInterface("phone", "eth0"))
    assert is_online("eth1")


def test_a_router_that_is_away_is_waited_for(lab: LabClient) -> None:
    world = World(lab, device("phone", "cell", "home"))
    with ThreadPoolExecutor(1) as other:
        away = other.submit(lab.change, commands.RebootRouter("home", 1.5))
        until(lambda: "state DOWN" in world.output("home", "ip", "link", "show", "lan"))
        lab.set_default_route("phone", "eth1")
        assert world.is_configured("phone", "eth1")
        away.result(PATIENCE_S)


def test_links_are_impaired_when_everybody_is_configured(lab: LabClient) -> None:
    world = World(lab, device("phone", "cell", impair=LinkCondition(loss_pct=100)))
    assert len(world.default_routes("phone")) == 1
    assert world.addresses("phone") == [world.planned("phone")]
    assert not world.reaches("phone")


@pytest.mark.parametrize("settings", [STATIC_AND_DAD, RA_AND_DAD], ids=["static", "ra"])
def test_addresses_are_probed_for_duplicates(lab: LabClient, settings: LabSettings) -> None:
    world = World(lab, device("phone", "cell"), device("tablet", "cell"), settings=settings)
    assert world.addresses("phone", "eth0", "tentative") == []
    assert world.reaches("phone")
    own = world.planned("phone")
    lab.link_down("phone", "eth0")
    with world.capture("tablet", "-i", "eth0", "icmp6 and ip6[40] == 135 and src ::") as captured:
        started_s = time.monotonic()
        lab.link_up("phone", "eth0")
        assert time.monotonic() - started_s > 0.9
        assert world.addresses("phone", "eth0", "-tentative") == [own]
        assert world.reaches("phone")
        until(lambda: f"who has {own}" in captured())


@pytest.mark.parametrize("settings", [STATIC_AND_DAD, RA_AND_DAD], ids=["static", "ra"])
def test_a_duplicate_is_found_and_not_waited_for(lab: LabClient, settings: LabSettings) -> None:
    World(lab, device("phone", "cell"), device("tablet", "cell"), settings=settings)
    own = lab.state()["devices"]["phone"]["interfaces"][0]["ll_v6"]
    lab.link_down("phone", "eth0")
    lab.run("tablet", ["ip", "addr", "add", f"{own}/64", "dev", "eth0", "nodad"])
    started_s = time.monotonic()
    lab.link_up("phone", "eth0")
    assert time.monotonic() - started_s < running.CHANGE_PATIENCE_S
    assert own in lab.run("phone", ["ip", "-6", "addr", "show", "dev", "eth0", "dadfailed"]).stdout.decode()


def hasty_build(context: SandboxContext) -> int:
    """A sandbox entry: waits half a second for the devices of a lab that was built."""
    running.BUILD_PATIENCE_S = 0.5
    return serve_lab(context)


def hasty_change(context: SandboxContext) -> int:
    """A sandbox entry: waits half a second for the device that a change is about."""
    running.CHANGE_PATIENCE_S = 0.5
    return serve_lab(context)


@contextmanager
def hasty(entry: Callable[[SandboxContext], int]) -> Iterator[LabClient]:
    with Zygote.start({"lab": entry}) as zygote, zygote.sandbox("lab") as sandbox:
        sandbox.wait_ready(10)
        client = LabClient(sandbox.control)
        yield client
        client.close()


def test_a_device_that_is_not_configured_in_time_stops_the_build() -> None:
    with hasty(hasty_build) as lab, pytest.raises(LabError, match=r"^server: eth0 has no IPv6 address after 0\.5 s$"):
        World(lab, settings=RA_AND_DAD)


def test_a_change_goes_on_without_an_advertisement() -> None:
    with hasty(hasty_change) as lab:
        world = World(lab, device("phone", "cell"))
        lab.change(commands.SetLinkCondition("phone", "eth0", LinkCondition(loss_pct=100), "both"))
        lab.link_down("phone", "eth0")
        lab.link_up("phone", "eth0")
        assert world.addresses("phone") == []
        lab.change(commands.SetLinkCondition("phone", "eth0", None, "both"))
        lab.link_down("phone", "eth0")
        lab.link_up("phone", "eth0")
        until(lambda: len(world.default_routes("phone")) == 1)
        assert world.is_configured("phone")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_sim_that_shows_it(project: Project) -> None:
    finished = project.run(SIM)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    events = project.events("ipv6-autoconfiguration")
    told = [each for each in events if each["kind"] == "router_advertisement"]
    assert {(each["router"], each["lifetime_s"]) for each in told} >= {("home", 60), ("office", 1800)}
    # Every host asks once, when its link carries frames, and is heard.
    asked = [each for each in events if each["kind"] == "router_solicitation"]
    assert sorted(each["router"] for each in asked) == ["dc", "home", "office"]
    assert all(each["source"].startswith("fe80::") for each in asked)
    created = next(each for each in events if each["kind"] == "lab_created")
    assert (created["ipv6_provisioning"], created["ipv6_dad"]) == ("ra", False)


DUPLICATE = """
[lab]
ipv6_dad = true
[[router]]
name = "home"
[device.phone.eth0]
gateway = "home"
[device.thief.eth0]
gateway = "home"
[[step]]
action = "link-down"
device = "phone"
interface = "eth0"
[[step]]
device = "thief"
cmd = ["ip", "addr", "add", "$NETSIM_IP6_PHONE/64", "dev", "eth0", "nodad"]
[[step]]
action = "link-up"
device = "phone"
interface = "eth0"
"""


def test_a_duplicate_is_told(project: Project) -> None:
    finished = project.run(project.sim("duplicate", DUPLICATE, topology=""))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (told,) = [each for each in project.events("duplicate") if each["kind"] == "ipv6_incomplete"]
    assert (told["device"], told["iface"], told["missing"]) == ("phone", "eth0", "unique address")
