"""What a failed sim keeps of its nodes' kernels."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from patchbay_runner.kernel.tables import TABLES
from patchbay_runner.lab.client import LabClient
from patchbay_runner.model.topology import Device, Interface, Router, Topology
from tests.netns.support.running import Project

FAIL = """
[[step]]
action = "spawn"
id = "web"
device = "server"
cmd = ["python3", "-u", "-m", "http.server", "8000", "--directory", "/proc/self/net"]
[step.captures.ready]
regex = "Serving"

[[step]]
id = "broken"
device = "client"
requires = ["web.ready"]
cmd = ["sh", "-c", "curl -sS -o /dev/null http://$NETSIM_IP_SERVER:8000/ && exit 3"]
"""
DUMP_ALL = """
import json
from patchbay_runner.kernel.tables import TABLES
print(json.dumps({name: "\\n".join(table()) for name, table in TABLES.items()}))
"""
FILES = {"nftables.txt", "processes.txt"} | {f"{name}.txt" for name in TABLES}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_failed_sim_keeps_what_its_nodes_knew_while_its_programs_ran(project: Project) -> None:
    ended = project.run(project.sim("broken", FAIL))
    assert ended.returncode == 1, ended.stdout + ended.stderr
    root = project.latest / "broken/failure-state"
    assert {path.name: {file.name for file in path.iterdir()} for path in root.iterdir()} == dict.fromkeys(
        ("ix", "dc", "home", "server", "client"), FILES
    )
    assert project.read("broken/sim.json")["failure_state"] == {"path": "failure-state", "files": 55, "problems": []}
    text = {f"{path.parent.name}/{path.stem}": path.read_text() for path in root.rglob("*.txt")}
    (flow,) = [line for line in text["home/conntrack"].splitlines() if "dport=8000" in line]
    assert "src=10.0.1.2 dst=198.18.1.2" in flow
    assert "dst=198.18.0.11 sport=8000" in flow
    assert "snat to 198.18.0.11" in text["home/nftables"]
    assert "default via 10.0.1.1 dev eth0" in text["client/routes"]
    assert "dev eth0" in text["client/routes-v6"]
    assert "inet 10.0.1.2/24" in text["client/addresses"]
    assert "10.0.1.1" in text["client/neighbours"]
    assert "qdisc noqueue" in text["client/qdiscs"]
    assert "TcpActiveOpens                  1" in text["client/counters"]
    (listening,) = [line for line in text["server/sockets"].splitlines() if "LISTEN" in line]
    assert "0.0.0.0:8000" in listening
    assert '"python3"' in listening
    (_, program) = text["server/processes"].splitlines()
    assert "python3 -u -m http.server 8000" in program
    assert text["home/processes"].count("\n") == 1
    file = root / "home/conntrack.txt"
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (os.geteuid(), 0o644)
    assert project.processes() == {}


def test_a_sim_that_is_too_late_keeps_it_as_well_and_one_that_passes_does_not(project: Project) -> None:
    late = project.sim("late", '[[step]]\naction = "wait"\nduration = "60s"')
    passing = project.sim("passing", '[[step]]\ndevice = "client"\ncmd = ["true"]')
    assert project.run("--timeout", "300ms", late, passing).returncode == 1
    # The first tables of the first nodes come before anything can be late.
    assert (project.latest / "late/failure-state/ix/nftables.txt").exists()
    assert project.read("late/sim.json")["failure_state"]["files"] > 0
    assert not (project.latest / "passing/failure-state").exists()
    assert project.read("passing/sim.json")["failure_state"] is None


def test_the_kernel_is_asked_where_programs_are_missing(lab: LabClient) -> None:
    devices = [Device(name=name, interfaces=(Interface(name="eth0", gateway="dc"),)) for name in ("web", "client")]
    lab.build(Topology(routers=(Router(name="dc"),), devices=tuple(devices)))
    rules = "table inet t { chain c { type filter hook input priority 0; ct state new accept; }; }"
    lab.run("client", ["nft", rules], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    with lab.socket("client", "inet", "stream") as listening:
        listening.bind(("127.0.0.1", 4242))
        listening.listen()
        with lab.socket("client", "inet", "stream") as connected:
            connected.connect(("127.0.0.1", 4242))
            printed = lab.run("client", [sys.executable, "-c", DUMP_ALL]).stdout
    found: dict[str, str] = json.loads(printed)
    assert '"CTA_PROTO_DST_PORT": 4242' in found["conntrack"]
    assert found["conntrack-v6"] == "" or "CTA_IP_V6_SRC" in found["conntrack-v6"]
    assert "0100007F:1092" in found["sockets"]
    assert '"IFA_LABEL": "eth0"' in found["addresses"]
    assert '"RTA_GATEWAY": "198.18.1.1"' in found["routes"]
    assert '"RTA_OIF"' in found["routes-v6"]
    assert '"NDA_LLADDR"' in found["neighbours"]
    assert '"TCA_KIND": "noqueue"' in found["qdiscs"]
    assert "eth0:" in found["counters"]
    lines = [line for name in ("addresses", "routes", "conntrack") for line in found[name].splitlines()]
    assert all(isinstance(json.loads(line), dict) for line in lines)
