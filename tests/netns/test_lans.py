"""LANs with prefixes of their own, and LANs without an uplink, from the sim file to the packet."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.netns.support.running import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


OWN_PREFIXES = """
[[router]]
name = "dc"
[[router]]
name = "google"
cidr = "8.8.8.0/24"
cidr_v6 = "2001:4860:4860::/64"
[[router]]
name = "home"
preset = "home"
cidr = "192.168.1.0/28"
cidr_v6 = "fd77::/64"
[[router]]
name = "cellar"
upstream = "home"
cidr = "192.168.1.16/30"
[device.server.eth0]
gateway = "dc"
[device.dns.eth0]
gateway = "google"
[device.pc.eth0]
gateway = "home"
[device.boiler.eth0]
gateway = "cellar"

[[step-template]]
name = "reach"
action = "run"
cmd = ["ping", "-n", "-c1", "-W5"]
"""


def reach(device: str, *addresses: str) -> str:
    return "".join(
        f'[[step]]\nuse = "reach"\nid = "{device}-{number}"\ndevice = "{device}"\nargs = ["{address}"]\n'
        for number, address in enumerate(addresses)
    )


def test_lans_have_the_prefixes_that_their_routers_name(project: Project) -> None:
    steps = (
        reach("pc", "192.168.1.1", "fd77::1", "8.8.8.2", "2001:4860:4860::2", "$NETSIM_IP_BOILER")
        + reach("server", "8.8.8.2", "2001:4860:4860::2")
        + reach("boiler", "192.168.1.17", "192.168.1.3", "8.8.8.2", "$NETSIM_IP6_SERVER")
        + """
[[step]]
id = "routes"
device = "pc"
cmd = ["ip", "-4", "route", "show", "default"]
captures.gateway.regex = "via ([0-9.]+)"
[[step]]
id = "addresses"
device = "pc"
cmd = ["echo", "$NETSIM_IP_PC", "$NETSIM_IP6_PC", "$NETSIM_IP_BOILER"]
captures.line.regex = ".*"
[[step]]
action = "assert"
checks = ["routes.gateway == 192.168.1.1", "addresses.line == 192.168.1.3 fd77::3 192.168.1.18"]
"""
    )
    finished = project.run(project.sim("own", steps, OWN_PREFIXES))
    assert finished.returncode == 0, finished.stdout + finished.stderr


CAPTIVE = """
[[router]]
name = "dc"
[[router]]
name = "hotel"
[[router]]
name = "portal"
isolated = true
[[router]]
name = "floor"
upstream = "portal"
nat = "home"

[device.server.eth0]
gateway = "dc"
[device.guest.wlan0]
gateway = "portal"
[device.other.wlan0]
gateway = "floor"

[[step-template]]
name = "serve"
action = "spawn"
cmd = ["python3", "-u", "-m", "http.server", "--bind", "::", "80"]
captures.ready.regex = "Serving"

[[step]]
use = "serve"
id = "server"
device = "server"
[[step]]
use = "serve"
id = "portal"
device = "portal"
"""


def fetch(name: str, address: str, exit_code: int, patience_s: float, device: str = "guest") -> str:
    return f"""
[[step]]
id = "{name}"
device = "{device}"
requires = ["server.ready", "portal.ready"]
cmd = ["curl", "--silent", "--output", "/dev/null", "--max-time", "{patience_s}", "http://{address}:80/"]
expect_exit = {exit_code}
"""


TIMED_OUT = 28


def test_nothing_leaves_an_isolated_router_until_its_guest_moves(project: Project) -> None:
    steps = (
        fetch("v4", "$NETSIM_IP_SERVER", TIMED_OUT, 0.5)
        + fetch("v6", "[$NETSIM_IP6_SERVER]", TIMED_OUT, 0.5)
        + fetch("behind", "$NETSIM_IP_SERVER", TIMED_OUT, 0.5, "other")
        + fetch("neighbour", "[$NETSIM_IP6_GUEST]", 7, 10, "other")  # it is there, and refuses
        + fetch("router", "198.18.3.1", 0, 10)
        + ping("unreached", "server", "$NETSIM_IP_GUEST", 1)
        + ping("unreached-v6", "server", "$NETSIM_IP6_GUEST", 1)
        + """
[[step]]
device = "portal"
cmd = ["nft", "table ip portal { chain pre { type nat hook prerouting priority dstnat; tcp dport 80 redirect; }; }"]
"""
        + fetch("redirected", "$NETSIM_IP_SERVER", 0, 10)
        + '[[step]]\naction = "replug"\ndevice = "guest"\nto = "hotel"\n'
        + fetch("online", "$NETSIM_IP_SERVER", 0, 10)
        + fetch("online-v6", "[$NETSIM_IP6_SERVER]", 0, 10)
    )
    finished = project.run(project.sim("captive", steps, CAPTIVE))
    assert finished.returncode == 0, finished.stdout + finished.stderr


def ping(name: str, device: str, address: str, exit_code: int) -> str:
    return f"""
[[step]]
id = "{name}"
device = "{device}"
cmd = ["ping", "-n", "-c1", "-W1", "{address}"]
expect_exit = {exit_code}
"""
