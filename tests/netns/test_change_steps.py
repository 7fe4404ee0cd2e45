"""Steps that change a running network, from the sim file to the kernel: `$NETSIM_…` follows every one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.running import Project

REFLEXIVE = Path(__file__).parents[2] / "sims" / "tools" / "reflexive.py"

TOPOLOGY = f"""
[[binary]]
name = "reflexive"
path = "{REFLEXIVE}"

[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[[router]]
name = "cell"
nat = "cgnat"
[[router]]
name = "old"
ip_support = "v4-only"

[device.server.eth0]
gateway = "dc"
[device.phone.wlan0]
gateway = "home"
[device.tablet.eth0]
gateway = "home"

[[step]]
action = "spawn"
id = "server"
device = "server"
cmd = ["${{binary.reflexive}}", "serve", "$NETSIM_IP_SERVER:3478", "$NETSIM_IP_SERVER:3479"]
captures.ready.regex = "serving"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def ask(name: str) -> str:
    """What the server sees of one socket of the phone that talks to two of its ports."""
    return f"""
[[step]]
id = "{name}"
device = "phone"
requires = ["server.ready"]
parser = "json"
cmd = ["${{binary.reflexive}}", "ask", "0", "$NETSIM_IP_SERVER:3478", "$NETSIM_IP_SERVER:3479"]
captures.address.pick = ".address"
captures.mappings.pick = ".mappings"
"""


def echo(name: str, *variables: str) -> str:
    """What variables are, written and in the environment of a program on another device."""
    text = " ".join(f"${variable} $${variable}" for variable in variables)
    return f"""
[[step]]
id = "{name}"
device = "tablet"
cmd = ["sh", "-c", "echo {text}"]
captures.line.regex = ".*"
"""


def ping(name: str, address: str, exit_code: int, device: str = "tablet") -> str:
    return f"""
[[step]]
id = "{name}"
device = "{device}"
cmd = ["ping", "-n", "-c1", "-W1", "{address}"]
expect_exit = {exit_code}
"""


def step(action: str, **values: str) -> str:
    keys = "".join(f'{key} = "{value}"\n' for key, value in values.items())
    return f'[[step]]\naction = "{action}"\n{keys}'


def captures_of(project: Project, sim: str, steps: str) -> dict[str, Any]:
    """Runs the steps, which must pass, and gives the newest value of every capture."""
    finished = project.run(project.sim(sim, steps, TOPOLOGY))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    captured = [event for event in project.events(sim) if event["kind"] == "capture_recorded"]
    return {event["key"]: event["value"] for event in captured}


def event(project: Project, sim: str, kind: str) -> dict[str, Any]:
    return next(each for each in project.events(sim) if each["kind"] == kind)


def test_interfaces_change_and_the_variables_follow(project: Project) -> None:
    found = captures_of(
        project,
        "interfaces",
        ask("at-home")
        + echo("old-address", "NETSIM_IP_PHONE")
        + step("renew-ip", device="phone")
        + echo("renewed", "NETSIM_IP_PHONE", "NETSIM_IP_PHONE_WLAN0")
        + ping("new-answers", "$NETSIM_IP_PHONE", 0)
        + step("add-iface", device="phone", interface="cell0", gateway="cell")
        + echo("added", "NETSIM_IP_PHONE", "NETSIM_IP_PHONE_CELL0")
        + ask("still-at-home")
        + step("replug", device="phone", to="cell")
        + echo("replugged", "NETSIM_IP_PHONE", "NETSIM_IP_PHONE_WLAN0")
        + ask("on-cell")
        + step("remove-iface", device="phone", interface="wlan0")
        + echo("removed", "NETSIM_IP_PHONE", "NETSIM_IP_PHONE_CELL0")
        + ask("on-cell0")
        + ping("v6", "$NETSIM_IP6_SERVER", 0, device="phone"),
    )
    old, renewed, added, replugged, removed = (
        found[f"{name}.line"].split() for name in ("old-address", "renewed", "added", "replugged", "removed")
    )
    # As written and as the program's environment has it, of the device and of its interface.
    assert len(set(renewed)) == len(set(replugged)) == len(set(removed)) == 1
    assert renewed[0] not in old
    assert added[0] == renewed[0]
    assert added[2] == added[3] == removed[0]
    assert replugged[0] not in (renewed[0], added[2])
    assert event(project, "interfaces", "device_ip_changed")["new_ip"] == renewed[0]
    assert event(project, "interfaces", "interface_replugged")["new_ip"] == replugged[0]
    assert event(project, "interfaces", "interface_added")["new_ip"] == added[2]
    assert event(project, "interfaces", "interface_removed")["iface_name"] == "wlan0"
    assert found["still-at-home.address"] == found["at-home.address"]
    assert found["on-cell.address"] == found["on-cell0.address"] != found["at-home.address"]


def test_a_family_comes_with_the_router_that_carries_it(project: Project) -> None:
    found = captures_of(
        project,
        "families",
        step("replug", device="phone", interface="wlan0", to="old")
        + echo("v4", "NETSIM_IP_PHONE")
        + step("replug", device="phone", interface="wlan0", to="dc")
        + echo("v6", "NETSIM_IP6_PHONE")
        + ping("public", "$NETSIM_IP6_PHONE", 0, device="server"),
    )
    assert event(project, "families", "interface_replugged")["new_ip_v6"] is None
    assert ":" in found["v6.line"].split()[0]


def test_routers_change(project: Project) -> None:
    found = captures_of(
        project,
        "routers",
        ask("home")
        + step("set-nat", router="home", nat="corporate")
        + step("flush-nat", router="home")
        + ask("corporate")
        + step("set-nat", router="home", nat="none")
        + step("flush-nat", router="home")
        + ask("none")
        + ping("asked", "$NETSIM_IP6_PHONE", 0, device="server")
        + step("set-firewall", router="home", firewall="block-inbound")
        + ping("blocked", "$NETSIM_IP6_PHONE", 1, device="server")
        + step("set-firewall", router="home", firewall="none")
        + ping("open", "$NETSIM_IP6_PHONE", 0, device="server")
        + echo("own", "NETSIM_IP_PHONE"),
    )
    assert (found["home.mappings"], found["corporate.mappings"]) == ("1", "2")
    assert found["home.address"] == found["corporate.address"]
    assert found["none.address"] == found["own.line"].split()[0] != found["home.address"]
    kinds = [each["kind"] for each in project.events("routers")]
    assert kinds.count("nat_changed") == kinds.count("nat_state_flushed") == kinds.count("firewall_changed") == 2
