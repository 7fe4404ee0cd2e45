"""IPv6 translation and reboots from TOML: the sim that shows them, what it is without each, and what is recorded."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.netns.support.running import Project

SIM = (Path(__file__).parents[2] / "sims" / "ipv6-translation.toml").read_text()

PHONE = """
[[router]]
name = "dc"
[[router]]
name = "cell"
ip_support = "v6-only"
nat_v6 = "nat64"
[device.server.eth0]
gateway = "dc"
[device.phone.eth0]
gateway = "cell"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def run(project: Project, text: str) -> int:
    path = project.root / "sim.toml"
    path.write_text(text)
    return project.run(path).returncode


def ping(identifier: str, device: str, to: str) -> str:
    command = f'["ping", "-n", "-c1", "-W5", "{to}"]'
    return f'[[step]]\nid = "{identifier}"\ndevice = "{device}"\ncmd = {command}\n'


def test_the_sim_passes_and_says_what_was_translated(project: Project) -> None:
    assert run(project, SIM) == 0
    document = project.read("ipv6-translation/sim.json")
    assert set(document["nat64"]) == {"carrier", "home"}
    for counters in document["nat64"].values():
        assert counters["to_ipv4"] > 0 < counters["to_ipv6"]
        assert sum(count for name, count in counters.items() if name.startswith("dropped")) == 0
    kinds = [event["kind"] for event in project.events("ipv6-translation")]
    assert kinds.count("nat64_statistics") == 2
    assert kinds.index("nat_v6_changed") < kinds.index("router_rebooted")
    rebooted = next(event for event in project.events("ipv6-translation") if event["kind"] == "router_rebooted")
    assert (rebooted["router"], rebooted["down_for_s"]) == ("home", 0.3)
    routers = project.read("ipv6-translation/state.json")["routers"]
    assert routers["home"]["nat_v6"] == "nat64"
    assert routers["campus"]["downstream"]["mapped_cidr_v6"] == "3fff:0:3:3::/64"


@pytest.mark.parametrize(
    ("written", "instead", "step"),
    [
        ('nat_v6 = "nat64"\n\n# The third', 'nat_v6 = "none"\n\n# The third', "by-literal"),
        ('nat_v6 = "nptv6"', 'nat_v6 = "none"', "campus-in"),
        ('nat_v6 = "masquerade"', 'nat_v6 = "none"', "client"),
        ('router = "home"\nnat_v6 = "nat64"', 'router = "home"\nnat_v6 = "masquerade"', "home-by-literal"),
    ],
)
def test_it_fails_where_a_translation_is_taken_away(project: Project, written: str, instead: str, step: str) -> None:
    assert SIM.count(written) == 1
    # Nothing is retried: what does not answer now never will.
    without = SIM.replace(written, instead).replace('"--max-time", "10"', '"--max-time", "3"')
    assert run(project, without.replace('"--retry", "3"', '"--retry", "0"')) == 1
    error = project.read("ipv6-translation/sim.json")["error"]
    # The check of what the server saw, or the step with this id.
    assert step == (error["step"]["id"] or "client")
    assert step != "client" or "new-page.client is 'fd10:" in error["message"]


def test_a_translator_that_ends_by_itself_ends_the_sim_at_once(project: Project) -> None:
    steps = ping("before", "phone", "64:ff9b::$NETSIM_IP_server")
    steps += '[[step]]\ndevice = "cell"\ncmd = ["ip", "link", "delete", "nat64"]\n'
    steps += '[[step]]\naction = "wait"\nduration = "60s"\n'
    started_s = time.monotonic()
    assert project.run(project.sim("sim", steps, PHONE)).returncode == 3
    assert time.monotonic() - started_s < 50
    error = project.read("sim/sim.json")["error"]
    assert error["phase"] == "internal"
    assert "NAT64 translator of cell" in error["message"]


@pytest.mark.parametrize("provisioning", ["static", "ra"])
def test_names_and_routes_are_there_after_a_reboot(project: Project, provisioning: str) -> None:
    steps = ping("before", "phone", "server")
    steps += '[[step]]\naction = "reboot-router"\nrouter = "cell"\ndown_for = "200ms"\n'
    steps += ping("by-name", "phone", "server") + ping("by-address", "phone", "$NETSIM_IP6_server")
    steps += ping("inbound", "server", "$NETSIM_IP6_phone")
    steps += '[[step]]\ndevice = "phone"\ncmd = ["sh", "-c", "ip -6 route show default | grep -q ."]\n'
    settings = f'[lab]\nipv6_provisioning = "{provisioning}"\n'
    finished = project.run(project.sim("sim", steps, settings + PHONE))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    kinds = [event["kind"] for event in project.events("sim")]
    # A router that loses power says no farewell, and what is down is not heard to fail.
    assert "router_advertisement_failed" not in kinds
    after = project.events("sim")[kinds.index("router_rebooted") - 2 :]
    assert any(event["kind"] == "router_advertisement" for event in after) is (provisioning == "ra")
    lifetimes = {event["lifetime_s"] for event in project.events("sim") if event["kind"] == "router_advertisement"}
    assert 0 not in lifetimes
