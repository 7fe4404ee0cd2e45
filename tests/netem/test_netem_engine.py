"""The kernel's link engine where the kernel has it: what was asked is what the kernel holds, and what it counts."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from patchbay_runner.errors import KernelError, LabError
from patchbay_runner.kernel.links import LinkPort, NetemEngine, has_netem
from patchbay_runner.kernel.namespaces import new_network_namespace
from patchbay_runner.model.links import PRESETS, LinkCondition
from tests.netns.support.link_world import ENGINE, LinkWorld

WHOLE = 0xFFFFFFFF
TICK_NS = 64
READ_BACK = """
import json, sys
from pyroute2 import IPRoute

with IPRoute() as route:
    found = {}
    for qdisc in route.get_qdiscs(route.link_lookup(ifname=sys.argv[1])[0]):
        options = qdisc.get_attr("TCA_OPTIONS")
        if options:
            fields = {name: value for name, value in options.items() if isinstance(value, int)}
            known = {name: value for name, value in options["attrs"] if isinstance(value, dict)}
            found[qdisc["handle"] >> 16] = {"kind": qdisc.get_attr("TCA_KIND"), **fields, **known}
print(json.dumps(found))
"""
EVERYTHING = LinkCondition(
    latency_ms=50,
    jitter_ms=10,
    loss_pct=3,
    rate_kbit=5_000,
    reorder_pct=4,
    duplicate_pct=2,
    corrupt_pct=1,
    buffer_ms=100,
)


@pytest.fixture(scope="module")
def shared() -> Iterator[LinkWorld]:
    with LinkWorld(3) as world:
        yield world


@pytest.fixture
def world(shared: LinkWorld) -> Iterator[LinkWorld]:
    yield shared
    for device in ("d0", "d1", "d2", ""):
        shared.apply(device)


def test_this_is_a_kernel_with_netem() -> None:
    assert ENGINE == "netem"
    assert has_netem()


def qdiscs(world: LinkWorld, node: str, interface: str) -> dict[str, Any]:
    """What the kernel has at an interface, decoded by pyroute2, by the number of its handle."""
    done = world.lab.run(node, [sys.executable, "-c", READ_BACK, interface])
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("condition", [PRESETS["mobile-3g"], PRESETS["wifi"], EVERYTHING])
def test_the_kernel_holds_what_was_asked(world: LinkWorld, condition: LinkCondition) -> None:
    world.apply("d0", up=LinkCondition(latency_ms=1, duplicate_pct=50, rate_kbit=100))
    world.apply("d0", up=condition)
    cutter, netem, rate = qdiscs(world, "d0", "eth0").values()
    assert (cutter["kind"], netem["kind"], rate["kind"]) == ("tbf", "netem", "tbf")
    assert netem["delay"] == condition.latency_ms * 1e6 / TICK_NS
    assert netem["jitter"] == condition.jitter_ms * 1e6 / TICK_NS
    assert [netem[name] / WHOLE * 100 for name in ("loss", "duplicate")] == pytest.approx(
        [condition.loss_pct, condition.duplicate_pct]
    )
    assert netem["TCA_NETEM_REORDER"]["prob_reorder"] / WHOLE * 100 == pytest.approx(condition.reorder_pct)
    assert netem["TCA_NETEM_CORRUPT"]["prob_corrupt"] / WHOLE * 100 == pytest.approx(condition.corrupt_pct)
    assert netem["gap"] == (1 if condition.reorder_pct else 0)
    held_s = (condition.latency_ms + condition.jitter_ms + (condition.buffer_ms or 400)) / 1e3
    assert netem["limit"] >= condition.rate_kbit * 125 * held_s / 60
    if condition.rate_kbit:
        bucket = rate["TCA_TBF_PARMS"]
        assert bucket["rate"] == condition.rate_kbit * 125
        burst = bucket["buffer"] * TICK_NS / 1e9 * bucket["rate"]
        assert (bucket["limit"] - burst) / bucket["rate"] * 1e3 == pytest.approx(condition.buffer_ms or 400, rel=0.01)


def test_a_lifted_condition_leaves_nothing_that_impairs(world: LinkWorld) -> None:
    world.apply("d0", down=EVERYTHING)
    assert qdiscs(world, "router", "p0")["2"]["delay"] > 0
    world.apply("d0")
    _, netem, rate = qdiscs(world, "router", "p0").values()
    assert [netem[name] for name in ("delay", "jitter", "loss", "gap", "duplicate")] == [0] * 5
    assert rate["TCA_TBF_PARMS"]["rate"] == WHOLE
    trips = world.round_trips_ms("d0", 20)
    assert min(trips) < 20


def test_losses_are_told_by_their_cause(world: LinkWorld) -> None:
    world.apply("d1", up=LinkCondition(latency_ms=5, loss_pct=20))
    lost = 1_000 - len(world.train(1_000, gap_s=0.0002, source="d1").numbers)
    first = world.statistics()["d1.eth0"].up
    assert first is not None
    assert (first.packets, first.dropped, first.lost, first.overflowed) == (1_000, lost, lost, 0)
    world.apply("d1", up=LinkCondition(rate_kbit=1_000, buffer_ms=100))
    fell = 100 - len(world.train(100, size=1_400, source="d1").numbers)
    second = world.statistics()["d1.eth0"].up
    assert second is not None
    assert fell > 50
    assert (second.packets, second.lost, second.overflowed) == (1_100, lost, fell)


def test_only_an_impaired_link_counts(world: LinkWorld) -> None:
    condition = LinkCondition(latency_ms=5)
    world.apply("d2", up=condition)
    world.train(100, source="d2", gap_s=0.001)
    world.apply("d2")
    counted = world.statistics()["d2.eth0"].up
    world.train(50, source="d2", gap_s=0.001)
    assert world.statistics()["d2.eth0"].up == counted
    world.apply("d2", up=condition)
    world.train(100, source="d2", gap_s=0.001)
    again = world.statistics()["d2.eth0"].up
    assert counted is not None
    assert again is not None
    assert (counted.packets, again.packets) == (100, 200)


def test_a_forgotten_port_has_no_qdiscs_and_keeps_its_counters(world: LinkWorld) -> None:
    world.apply("d2", down=LinkCondition(loss_pct=50))
    world.train(100, source="server", to="d2", gap_s=0.001)
    counted = world.statistics()["d2.eth0"]
    world.forget("d2")
    assert qdiscs(world, "router", "p2") == {}
    assert qdiscs(world, "d2", "eth0") == {}
    assert world.statistics()["d2.eth0"] == counted
    world.apply("d2", down=LinkCondition(latency_ms=1))
    world.train(100, source="server", to="d2", gap_s=0.001)
    after = world.statistics()["d2.eth0"].down
    assert counted.down is not None
    assert after is not None
    assert after.packets == counted.down.packets + 100


def test_a_sender_fills_the_queue_before_its_own_slow_link(world: LinkWorld) -> None:
    """Without the sender's account of what it has on the way, which would keep TCP from ever filling it."""
    world.apply("d0", up=LinkCondition(rate_kbit=2_000, buffer_ms=400))
    with world.lab.socket("server") as listener, world.lab.socket("d0") as sender:
        listener.bind((world.address("server"), 0))
        listener.listen()
        sender.connect(listener.getsockname())
        received, _ = listener.accept()
        uploader = threading.Thread(target=sender.sendall, args=(bytes(600_000),))
        drain = threading.Thread(target=read_all, args=(received,))
        uploader.start()
        drain.start()
        trips = world.round_trips_ms("d0", 300)
        uploader.join()
        sender.close()
        drain.join()
        received.close()
    assert max(trips) > 200


def read_all(sock: Any) -> None:
    while sock.recv(1 << 16):
        pass


def test_refusals_name_the_qdisc_and_the_node() -> None:
    netns = new_network_namespace()
    try:
        port = LinkPort("laptop.eth0", "home", netns, "lo", 99)
        with pytest.raises(KernelError, match=r"replace tbf 1: at the root of index 99.*home|home.*replace tbf 1:"):
            NetemEngine().apply(port, None, LinkCondition(latency_ms=5))
        with pytest.raises(LabError, match="jitter is at most 2147 ms"):
            NetemEngine().apply(port, None, LinkCondition(latency_ms=5_000, jitter_ms=5_000))
    finally:
        os.close(netns)
