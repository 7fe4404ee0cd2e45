"""Sims end to end on Debian's kernel, with the kernel's own link engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.netns.support.running import Project, finish

CHECKOUT = Path(__file__).resolve().parents[2]

# Half a second is what no machine is late by itself, and what netem must add.
IMPAIRED = """
[[step-template]]
name = "ping"
action = "run"
device = "client"
cmd = ["ping", "-n", "-q", "-c", "5", "-i", "0.2", "-W", "5", "$NETSIM_IP_server"]
[step-template.captures.least_ms]
regex = 'min/avg/max/mdev = ([\\d.]+)/'

[[step]]
use = "ping"
id = "at-first"

[[step]]
action = "replug"
device = "client"
interface = "eth0"
to = "dc"

[[step]]
use = "ping"
id = "elsewhere"

[[step]]
action = "set-link-condition"
device = "client"
condition = { latency_ms = 100, loss_pct = 100 }

[[step]]
id = "lost"
device = "client"
cmd = ["sh", "-c", "! ping -n -q -c 3 -i 0.2 -W 1 $NETSIM_IP_server"]

[[step]]
action = "set-link-condition"
device = "client"

[[step]]
use = "ping"
id = "clear"

[[step]]
action = "assert"
checks = [
  "at-first.least_ms >= 499",
  "at-first.least_ms < 700",
  "elsewhere.least_ms >= 499",
  "elsewhere.least_ms < 700",
  "clear.least_ms < 200",
]
"""
TOPOLOGY = """
seed = 7
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
impair = { latency_ms = 500 }
"""


def test_a_sim_impairs_its_links_by_netem(tmp_path: Path) -> None:
    project = Project(tmp_path)
    done = finish(project.start(project.sim("impaired", IMPAIRED, TOPOLOGY)), timeout_s=100)
    assert done.returncode == 0, done.stdout + done.stderr
    links = project.read("impaired/sim.json")["links"]
    assert links["engine"] == "netem"
    (link,) = links["statistics"]
    assert link["name"] == "client.eth0"
    assert link["up"]["packets"] >= 13
    assert link["up"]["lost"] == link["up"]["dropped"] == 3


@pytest.mark.parametrize("sim", ["web-home-nat", "ping-nat"])
def test_a_sim_of_the_project_passes(tmp_path: Path, sim: str) -> None:
    project = Project(tmp_path)
    done = finish(project.start("--project-root", CHECKOUT, CHECKOUT / "sims" / f"{sim}.toml"), timeout_s=100)
    assert done.returncode == 0, done.stdout + done.stderr
