"""Partitions between regions: at once, in both directions and families, by no other way, and healed."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from patchbay_runner.errors import LabError
from patchbay_runner.lab import commands
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.nat import nat_mode
from tests.netns.support.region_world import FAMILIES, RegionWorld, assert_takes
from tests.netns.support.running import Project

pytestmark = [pytest.mark.netns, pytest.mark.alone]

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shared(new_lab: Callable[[], LabClient]) -> RegionWorld:
    return RegionWorld(new_lab())


@pytest.fixture
def world(shared: RegionWorld) -> Iterator[RegionWorld]:
    """The module's lab, with every link whole again afterwards."""
    yield shared
    for (a, b), is_broken in shared.links().items():
        if is_broken:
            shared.lab.change(commands.RestoreRegionLink(a, b))


def assert_round_trip(world: RegionWorld, source: str, target: str, asked_ms: float) -> None:
    for family in FAMILIES:
        assert_takes(asked_ms, lambda family=family: world.round_trip_ms(source, target, family))


def test_a_broken_link_carries_nothing_and_no_other_path_does(world: RegionWorld) -> None:
    world.lab.change(commands.BreakRegionLink("us", "eu"))
    # Through asia and over the exchange there would be ways.
    for source, target in (("d-paris", "d-boston"), ("d-boston", "d-paris"), ("d-home", "d-street")):
        assert world.is_cut(source, target)
    assert_round_trip(world, "d-boston", "d-tokyo", 50)
    assert_round_trip(world, "d-paris", "d-tokyo", 300)
    assert_round_trip(world, "d-paris", "d-rome", 0)
    for source in ("d-paris", "d-boston"):
        assert_round_trip(world, source, "d-plain", 0)
    assert world.links() == {("eu", "us"): True, ("eu", "asia"): False, ("us", "asia"): False}
    world.lab.change(commands.RestoreRegionLink("us", "eu"))
    assert not any(world.links().values())
    for source, target in (("d-paris", "d-boston"), ("d-street", "d-paris"), ("d-home", "d-suburb")):
        assert_round_trip(world, source, target, 40)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_under_way_when_a_link_breaks_is_lost(world: RegionWorld, family: str) -> None:
    inet = "inet" if family == "ip" else "inet6"
    with world.lab.socket("d-paris", inet, "dgram") as sender, world.lab.socket("d-tokyo", inet, "dgram") as receiver:
        receiver.bind(("::" if family == "ip_v6" else "0.0.0.0", 0))
        target = (world.address("d-tokyo", family), receiver.getsockname()[1])
        receiver.settimeout(3)
        sender.sendto(b"whole", target)
        assert receiver.recv(10) == b"whole"
        for attempt in range(3):
            begun_s = time.monotonic()
            sender.sendto(b"%d" % attempt, target)
            world.lab.change(commands.BreakRegionLink("eu", "asia"))
            if time.monotonic() - begun_s < 0.1:  # of the 150 ms that it takes
                break
            world.lab.change(commands.RestoreRegionLink("eu", "asia"))
        else:
            pytest.skip("this machine is too busy to break a link within 100 ms")
        assert b"%d" % attempt not in all_received(receiver, 0.5)
        world.lab.change(commands.RestoreRegionLink("eu", "asia"))
        receiver.settimeout(3)
        sender.sendto(b"after", target)
        assert receiver.recv(10) == b"after"


def test_what_was_under_way_does_not_come_after_all_when_a_link_is_whole_at_once(world: RegionWorld) -> None:
    with (
        world.lab.socket("d-paris", "inet", "dgram") as sender,
        world.lab.socket("d-tokyo", "inet", "dgram") as receiver,
    ):
        receiver.bind(("0.0.0.0", 0))
        target = (world.address("d-tokyo", "ip"), receiver.getsockname()[1])
        for attempt in range(5):
            begun_s = time.monotonic()
            sender.sendto(b"lost %d" % attempt, target)
            world.lab.change(commands.BreakRegionLink("eu", "asia"))
            was_under_way = time.monotonic() - begun_s < 0.1  # of the 150 ms that it takes
            world.lab.change(commands.RestoreRegionLink("eu", "asia"))
            if was_under_way:
                break
        else:
            pytest.skip("this machine is too busy to break a link within 100 ms")
        sender.sendto(b"later", target)
        receiver.settimeout(10)
        received = [receiver.recv(10)]
        while received[-1] != b"later":  # links keep the order
            received.append(receiver.recv(10))
        assert b"lost %d" % attempt not in received


def test_other_changes_leave_a_broken_link_broken_and_count_once_it_is_whole(world: RegionWorld) -> None:
    world.lab.change(commands.BreakRegionLink("eu", "us"))
    world.lab.change(commands.SetNat("paris", nat_mode("home")))
    world.lab.change(commands.SetNat("paris", nat_mode("none")))
    world.lab.change(commands.SetNat("suburb", nat_mode("home")))
    assert world.is_cut("d-paris", "d-boston")
    assert world.is_cut("d-boston", "d-paris")
    world.lab.change(commands.RestoreRegionLink("eu", "us"))
    assert_round_trip(world, "d-boston", "d-paris", 40)
    assert "100% packet loss" in world.ping("d-paris", "d-suburb", "ip", "-c2", "-W0.3", check=False)
    world.lab.change(commands.SetNat("suburb", nat_mode("none")))
    assert_round_trip(world, "d-paris", "d-suburb", 40)


def all_received(receiver: socket.socket, patience_s: float) -> list[bytes]:
    """What comes, until nothing has come for a time."""
    receiver.settimeout(patience_s)
    received = []
    with contextlib.suppress(TimeoutError):
        while True:
            received.append(receiver.recv(10))
    return received


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (commands.RestoreRegionLink("eu", "us"), "between the regions 'eu' and 'us' is not broken"),
        (commands.BreakRegionLink("eu", "far"), "no link between the regions 'eu' and 'far'"),
        (commands.BreakRegionLink("eu", "mars"), "no link between the regions 'eu' and 'mars'"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(world: RegionWorld, change: commands.Change, message: str) -> None:
    with pytest.raises(LabError, match=message):
        world.lab.change(change)


def test_a_link_breaks_once(world: RegionWorld) -> None:
    world.lab.change(commands.BreakRegionLink("eu", "us"))
    with pytest.raises(LabError, match="between the regions 'us' and 'eu' is broken already"):
        world.lab.change(commands.BreakRegionLink("us", "eu"))
    assert world.is_cut("d-paris", "d-boston")


def test_the_sim_that_shows_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    ended = project.run(CHECKOUT / "sims" / "regions.toml")
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr  # a busy machine is late
    events = project.events("regions")
    added = {event["name"]: event["router"] for event in events if event["kind"] == "region_added"}
    assert added == {"eu": "region_eu", "us": "region_us", "asia": "region_asia"}
    (link,) = [
        each for each in events if each["kind"] == "region_link_added" and (each["a"], each["b"]) == ("eu", "us")
    ]
    assert (link["a_to_b"], link["b_to_a"]) == ({"latency_ms": 40.0}, {"latency_ms": 40.0})
    changed = [(each["kind"], each["a"], each["b"]) for each in events if each["kind"].endswith(("broken", "restored"))]
    assert changed == [("region_link_broken", "eu", "us"), ("region_link_restored", "eu", "us")]
    assert "region_eu.link1" in {event["name"] for event in events if event["kind"] == "link_statistics"}
