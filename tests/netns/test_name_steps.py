"""Names in sims: entries of files and steps, from TOML to what programs find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.netns.support.running import Project

SIMS = Path(__file__).parents[2] / "sims"

NETWORK = """
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.other.eth0]
gateway = "dc"
[device.peer]
count = 2
[device.peer.eth0]
gateway = "home"
[device.peer.dns]
"www.example" = "other"
[dns]
"www.example" = "server"
"api.example" = ["203.0.113.7"]
"""

ADDRESSES = """
[[step]]
id = "addresses"
device = "dc"
cmd = ["echo", "server=$NETSIM_IP_SERVER", "other=$NETSIM_IP_OTHER", "peer=$NETSIM_IP_PEER_1"]
captures.server.regex = "server=(\\\\S+)"
captures.other.regex = "other=(\\\\S+)"
captures.peer.regex = "peer=(\\\\S+)"
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def look_up(step: str, device: str, *names: str) -> str:
    """Captures the IPv4 addresses of names, "-" where there is none."""
    script = "; ".join(f"dig +short {name} A | grep -v '[.]$' || echo -" for name in names)
    return f"""
[[step]]
id = "{step}"
device = "{device}"
cmd = ["sh", "-c", "echo $({script})"]
captures.found.regex = ".+"
"""


def captures(project: Project, steps: str) -> dict[str, Any]:
    ended = project.run(project.sim("case", ADDRESSES + steps, NETWORK))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {key: found["value"] for key, found in project.read("case/results.json")["captures"].items()}


def set_dns(entries: str, device: str = "") -> str:
    on = f'device = "{device}"\n' if device else ""
    return f'[[step]]\naction = "set-dns"\n{on}entries = {{ {entries} }}\n'


def test_entries_and_their_changes_reach_programs(project: Project) -> None:
    found = captures(
        project,
        look_up("before", "server", "www.example", "api.example", "peer-1", "new.example")
        + look_up("own", "peer", "www.example", "api.example")
        + set_dns('"www.example" = "other", "new.example" = "${addresses.other}", "api.example" = []')
        + look_up("after", "server", "www.example", "api.example", "peer-1", "new.example")
        + set_dns('"www.example" = "$NETSIM_IP_PEER_1", "mine.example" = "new.example"', "peer")
        + look_up("changed", "peer", "www.example", "mine.example")
        + look_up("theirs", "other", "www.example", "mine.example")
        + set_dns('"www.example" = []', "peer-0")
        + look_up("back", "peer-0", "www.example")
        + look_up("kept", "peer-1", "www.example"),
    )
    server, other, peer = (found[f"addresses.{name}"] for name in ("server", "other", "peer"))
    assert found["before.found"] == f"{server} 203.0.113.7 {peer} -"
    assert found["own-0.found"] == found["own-1.found"] == f"{other} 203.0.113.7"
    assert found["after.found"] == f"{other} - {peer} {other}"
    assert found["changed-0.found"] == found["changed-1.found"] == f"{peer} {other}"
    assert found["theirs.found"] == f"{other} -"
    assert (found["back.found"], found["kept.found"]) == (other, peer)
    told = [event for event in project.events("case") if event["kind"] == "names_changed"]
    assert [event["device"] for event in told] == [None, "peer-0", "peer-1", "peer-0"]
    assert told[0]["names"][1] == {"name": "new.example", "addresses": [other]}


def test_a_reference_that_brings_no_address_fails_the_step(project: Project) -> None:
    steps = '[[step]]\nid = "x"\ndevice = "dc"\ncmd = ["echo", "10.0.0"]\ncaptures.y.regex = ".+"\n'
    ended = project.run(project.sim("case", steps + set_dns('"a" = "${x.y}"'), NETWORK))
    assert ended.returncode == 1
    error = project.read("case/sim.json")["error"]
    assert "'a' cannot stand for '10.0.0'" in error["message"]
    assert error["step"]["action"] == "set-dns"


# What is written in the sim, what stands there instead, and the step that fails then.
@pytest.mark.parametrize(
    ("written", "instead", "step"),
    [
        ("", "", None),
        ('entries = { "api.example.com" = "green" }', 'entries = { "api.example.com" = "blue" }', "assert"),
        ('[device.tester.dns]\n"api.example.com" = "green"', "", "assert"),
        ('[dns]\n"api.example.com" = "blue"', "", "laptop-before"),
    ],
)
def test_the_sim_of_names_shows_what_it_says(project: Project, written: str, instead: str, step: str | None) -> None:
    text = (SIMS / "names.toml").read_text()
    assert not written or text.count(written) == 1
    (project.root / "names.toml").write_text(text.replace(written, instead) if written else text)
    ended = project.run("names.toml")
    assert ended.returncode == (0 if step is None else 1), ended.stdout + ended.stderr
    if step is not None:
        failed = project.read("names/sim.json")["error"]["step"]
        assert step in (failed["id"], failed["action"])
