"""What a run writes about its links: what served, what became of the packets, second by second; an emulator's death."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.netns.support.link_world import ENGINE
from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until

pytestmark = pytest.mark.alone

TOPOLOGY = """
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
downlink_condition = { rate_kbit = 50_000 }
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
impair = { latency_ms = 5, loss_pct = 20 }
"""

PING = """
[[step]]
device = "client"
cmd = ["ping", "-q", "-c", "100", "-i", "0.01", "-W", "1", "$NETSIM_IP_SERVER"]
[[step]]
action = "set-link-condition"
device = "client"
interface = "eth0"
condition = "wifi"
direction = "down"
[[step]]
action = "link-down"
device = "server"
interface = "eth0"
"""

WAIT = """
[[step]]
action = "spawn"
id = "sleeper"
device = "client"
cmd = ["sleep", "300"]
[[step]]
action = "wait"
duration = "300s"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_the_record_says_what_served_and_what_became_of_the_packets(project: Project) -> None:
    ended = project.run(project.sim("lossy", PING, TOPOLOGY))
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr  # a busy machine is late, and as lossy
    links = project.read("lossy/sim.json")["links"]
    assert links["engine"] == ENGINE
    up, down = links["statistics"][0]["up"], links["statistics"][1]["down"]
    assert [link["name"] for link in links["statistics"]] == ["client.eth0", "home.lan"]
    assert up["packets"] >= 100
    assert 5 <= up["lost"] <= 40
    assert up["dropped"] >= up["lost"]
    passed = up["packets"] - up["dropped"]
    assert up["delay_total_ms"] / passed == pytest.approx(5, rel=0.01)
    assert down["packets"] >= passed - 20
    assert down["bytes"] >= 98 * (passed - 20)
    events = [event for event in project.events("lossy") if event["kind"] == "link_statistics"]
    assert [event["name"] for event in events] == ["client.eth0", "home.lan"]
    assert events[0]["up"] == up

    lines = [json.loads(line) for line in (project.latest / "lossy/metrics.jsonl").read_bytes().splitlines()]
    for name in ("packets", "bytes", "dropped", "lost"):
        assert sum(line["links"].get("client.eth0", {}).get("up", {}).get(name, 0) for line in lines) == up[name]
    assert not any(event["kind"] in ("metrics", "links") for event in project.events("lossy"))


def test_the_state_is_the_network_as_the_steps_left_it(project: Project) -> None:
    ended = project.run(project.sim("changed", PING, TOPOLOGY))
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    state = project.read("changed/state.json")
    (client,) = state["devices"]["client"]["interfaces"]
    assert client["condition"] == {"latency_ms": 5.0, "loss_pct": 20.0}
    assert client["download_condition"] == {"latency_ms": 5.0, "jitter_ms": 2.0, "loss_pct": 0.1}
    assert state["routers"]["home"]["downlink_condition"] == {"rate_kbit": 50_000.0}
    assert state["routers"]["home"]["uplink_condition"] is None
    assert [each["up"] for each in state["devices"]["server"]["interfaces"]] == [False]
    assert state["status"] == project.read("changed/sim.json")["status"]
    assert state["opid"] == project.events("changed")[-1]["opid"]


def test_the_condition_that_the_state_holds_can_be_asked_for(project: Project) -> None:
    project.run(project.sim("first", PING, TOPOLOGY))
    (client,) = project.read("first/state.json")["devices"]["client"]["interfaces"]
    table = ", ".join(f"{key} = {value}" for key, value in client["download_condition"].items())
    again = PING.replace('condition = "wifi"', f"condition = {{ {table} }}")
    ended = project.run(project.sim("second", again, TOPOLOGY))
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr


@pytest.mark.skipif(ENGINE != "emulator", reason="netem has no process that could end")
@pytest.mark.parametrize("when", ["from-the-start", "later"])
def test_a_sim_ends_at_once_when_an_emulator_dies(project: Project, when: str) -> None:
    set_later = '[[step]]\naction = "set-link-condition"\ndevice = "client"\ninterface = "eth0"\ncondition = "wifi"\n'
    path = project.sim("doomed", set_later + WAIT) if when == "later" else project.sim("doomed", WAIT, TOPOLOGY)
    running = project.start(path)
    wait_until(project.has_event("doomed", "process_started"), 30)
    os.kill(project.emulators(running.pid)[0], signal.SIGKILL)
    ended = finish(running, 30)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    error = project.read("doomed/sim.json")["error"]
    assert error["phase"] == "internal"
    assert "link emulator has ended" in error["message"]


@pytest.mark.skipif(ENGINE != "emulator", reason="netem is never late")
@pytest.mark.parametrize("failing", [None, "assert"])
def test_a_sim_on_a_starved_machine_is_overloaded(project: Project, failing: str | None) -> None:
    """Also where a step failed by what late frames may cause."""
    steps = """
[[step]]
action = "spawn"
id = "pinger"
device = "client"
cmd = ["ping", "-q", "-c", "150", "-i", "0.01", "-W", "1", "$NETSIM_IP_SERVER"]
[step.captures.worst_ms]
regex = "= [0-9.]+/[0-9.]+/([0-9.]+)/"
[[step]]
action = "wait-for"
id = "pinger"
""" + {
        None: "",
        "assert": '[[step]]\naction = "assert"\ncheck = "pinger.worst_ms < 100"',
    }[failing]  # fmt: skip
    running = project.start(project.sim("starved", steps, TOPOLOGY))
    wait_until(project.has_event("starved", "process_started"), 30)
    emulators = project.emulators(running.pid)
    for _ in range(5):
        for pid in emulators:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.2)
        for pid in emulators:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    ended = finish(running, 60)
    sim = project.read("starved/sim.json")
    assert (ended.returncode, sim["status"]) == (5, "overloaded"), ended.stdout + ended.stderr
    assert "client.eth0 was" in sim["error"]["message"].splitlines()[0]
    assert (sim["error"]["step"] or {}).get("action") == failing
    assert any(link["up"]["late_max_ms"] > 100 for link in sim["links"]["statistics"] if "up" in link)
