"""Conditions of routers: what they send to their uplink and into their LAN, from the start and while a lab runs."""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, Router, Topology
from tests.netns.support.link_world import Collector, Train
from tests.netns.support.running import Project

pytestmark = pytest.mark.alone

# Below the difference that any of the conditions makes.
LATE_MS = 18
FRAME = 1514
PAYLOAD = 1472


class World:
    """A phone and a tablet behind a home router behind a provider, and a server."""

    def __init__(self, lab: LabClient) -> None:
        self.lab = lab
        phone = Interface(name="eth0", gateway="home", impair=LinkCondition(latency_ms=20))
        self.state = lab.build(
            Topology(
                routers=(
                    Router(name="dc"),
                    Router(name="isp", uplink=LinkCondition(latency_ms=80), downlink=LinkCondition(latency_ms=30)),
                    Router(name="home", upstream="isp", uplink=LinkCondition(latency_ms=40)),
                ),
                devices=(
                    Device(name="server", interfaces=(Interface(name="eth0", gateway="dc"),)),
                    Device(name="phone", interfaces=(phone,)),
                    Device(name="tablet", interfaces=(Interface(name="eth0", gateway="home"),)),
                ),
            )
        )

    def one_way_ms(self, source: str, target: str, family: str = "ip", count: int = 9) -> float:
        """The median of what datagrams take, of which some are under way at once; both ends read one clock."""
        kind: commands.Family = "inet" if family == "ip" else "inet6"
        address = self.state["devices"][target]["interfaces"][0][family]
        taken_ms = []
        with self.lab.socket(target, kind, "dgram") as receiver, self.lab.socket(source, kind, "dgram") as sender:
            receiver.bind(("", 0))
            receiver.settimeout(10)
            for _ in range(count):
                sender.sendto(struct.pack("=d", time.perf_counter()), (address, receiver.getsockname()[1]))
                time.sleep(0.002)
            for _ in range(count):
                (sent_s,) = struct.unpack("=d", receiver.recv(64))
                taken_ms.append((time.perf_counter() - sent_s) * 1e3)
        return statistics.median(taken_ms)

    def takes(self, source: str, target: str, expected_ms: float, family: str = "ip") -> bool:
        """Whether a datagram takes as long as that, in one of three tries: a busy machine is late at times."""
        return any(-1 < self.one_way_ms(source, target, family) - expected_ms < LATE_MS for _ in range(3))

    def rate_kbit(self, source: str, target: str, count: int) -> float:
        """How many frame bits arrive a time when `count` datagrams are sent at once."""
        with self.lab.socket(target, "inet", "dgram") as receiver, self.lab.socket(source, "inet", "dgram") as sender:
            receiver.setsockopt(1, 8, 16 << 20)  # SO_RCVBUF
            receiver.setsockopt(1, 64, 1)  # SO_TIMESTAMPNS
            receiver.bind((self.state["devices"][target]["interfaces"][0]["ip"], 0))
            collector = Collector(receiver)
            collector.start()
            for _ in range(count):
                sender.sendto(bytes(PAYLOAD), receiver.getsockname())
            collector.join()
            assert len(collector.numbers) == count
            return Train(collector.numbers, collector.stamps_ns).rate_kbit(FRAME)


@pytest.fixture(scope="module")
def shared(new_lab: Callable[[], LabClient]) -> World:
    return World(new_lab())


@pytest.fixture
def world(shared: World) -> World:
    """The module's lab, with the conditions that it began with."""
    shared.lab.change(commands.SetUplink("home", LinkCondition(latency_ms=40)))
    shared.lab.change(commands.SetUplink("isp", LinkCondition(latency_ms=80)))
    shared.lab.change(commands.SetDownlink("isp", LinkCondition(latency_ms=30)))
    shared.lab.change(commands.SetDownlink("home"))
    return shared


@pytest.mark.parametrize("family", ["ip", "ip_v6"])
def test_conditions_of_routers_are_there_from_the_start_and_add_up(
    new_lab: Callable[[], LabClient], family: str
) -> None:
    world = World(new_lab())
    assert world.takes("phone", "server", 20 + 40 + 80, family)
    assert world.takes("tablet", "server", 40 + 80, family)
    assert world.takes("server", "phone", 30, family)
    # What members of a LAN send each other meets no condition of their router.
    assert world.takes("tablet", "phone", 0, family)
    assert world.takes("phone", "tablet", 20, family)


def test_conditions_of_routers_change_and_are_cleared(world: World) -> None:
    world.lab.change(commands.SetUplink("isp", None))
    assert world.takes("tablet", "server", 40)
    world.lab.change(commands.SetUplink("home", LinkCondition(latency_ms=100)))
    assert world.takes("tablet", "server", 100)
    world.lab.change(commands.SetDownlink("home", LinkCondition(latency_ms=50)))
    assert world.takes("server", "tablet", 30 + 50)
    world.lab.change(commands.SetDownlink("isp"))
    world.lab.change(commands.SetUplink("home"))
    assert world.takes("server", "tablet", 50)
    assert world.takes("tablet", "server", 0)


def test_the_uplinks_condition_outlasts_a_change_of_the_nat(world: World) -> None:
    for mode in ("home", "none"):
        world.lab.change(commands.SetNat("home", nat_mode(mode)))
        world.lab.change(commands.FlushNat("home"))
        assert world.takes("tablet", "server", 40 + 80)


def test_each_direction_has_a_rate_of_its_own(world: World) -> None:
    world.lab.change(commands.SetUplink("home", LinkCondition(rate_kbit=2_000, buffer_ms=1_000)))
    world.lab.change(commands.SetDownlink("home", LinkCondition(rate_kbit=20_000, buffer_ms=1_000)))
    for source, target, count, rate_kbit in (("tablet", "server", 60, 2_000), ("server", "tablet", 200, 20_000)):
        # A busy machine is late at times; three tries, as for a delay.
        exact = pytest.approx(rate_kbit, rel=0.03)
        assert any(world.rate_kbit(source, target, count) == exact for _ in range(3))


SIM = """
[[router]]
name = "dc"
[[router]]
name = "dsl"
uplink_condition = { latency_ms = 40 }
downlink = { latency_ms = 10 }
[device.server.eth0]
gateway = "dc"
[device.pc.eth0]
gateway = "dsl"
"""
STEPS = """
[[step-template]]
name = "ping"
action = "run"
device = "pc"
cmd = ["ping", "-n", "-q", "-i", "0.05", "-c", "7", "$NETSIM_IP6_SERVER"]
captures.ms.regex = "= [0-9.]+/([0-9.]+)/"
[[step]]
use = "ping"
id = "both"
[[step]]
action = "set-uplink"
router = "dsl"
condition = { latency_ms = 90 }
[[step]]
use = "ping"
id = "slower"
[[step]]
action = "set-uplink"
router = "dsl"
[[step]]
use = "ping"
id = "down"
[[step]]
action = "set-downlink"
router = "dsl"
[[step]]
use = "ping"
id = "clear"
"""


def test_steps_change_the_conditions_of_routers(tmp_path: Path) -> None:
    project = Project(tmp_path)
    finished = project.run(project.sim("dsl", STEPS, SIM))
    assert finished.returncode in (0, 5), finished.stdout + finished.stderr
    events = project.events("dsl")
    found = {each["key"]: float(each["value"]) for each in events if each["kind"] == "capture_recorded"}
    for name, expected_ms in (("both", 50), ("slower", 100), ("down", 10), ("clear", 0)):
        assert expected_ms <= found[f"{name}.ms"], found
        # Later than that is what the verdict says of a busy machine.
        assert found[f"{name}.ms"] < expected_ms + 15 or finished.returncode == 5, found
    changed = [(each["kind"], each["condition"]) for each in events if each["kind"].endswith("link_condition_changed")]
    assert changed == [
        ("uplink_condition_changed", {"latency_ms": 90.0}),
        ("uplink_condition_changed", None),
        ("downlink_condition_changed", None),
    ]


def test_what_is_sent_when_a_link_has_just_been_impaired_arrives(lab: LabClient) -> None:
    """Every direction that is impaired for the first time has its frames sent a way that has just been made."""
    names = [f"d{number}" for number in range(16)]
    devices = [Device(name=name, interfaces=(Interface(name="eth0", gateway="dc"),)) for name in names]
    state = lab.build(Topology(routers=(Router(name="dc"),), devices=tuple(devices)))
    gateway = state["routers"]["dc"]["downstream"]["ip"]
    with lab.socket("dc", "inet", "dgram") as receiver:
        receiver.settimeout(10)
        receiver.bind((gateway, 0))
        for name in names:
            with lab.socket(name, "inet", "dgram") as sender:
                sender.settimeout(10)
                lab.change(commands.SetLinkCondition(name, "eth0", LinkCondition(latency_ms=1), "both"))
                sender.sendto(name.encode(), receiver.getsockname())
                data, source = receiver.recvfrom(10)
                receiver.sendto(data, source)
                assert sender.recv(10) == name.encode()
