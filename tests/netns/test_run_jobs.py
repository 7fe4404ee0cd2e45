"""`patchbay run` with several sims at once: they overlap, never see each other, and end as they should."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest

from tests.netns.support.link_world import ENGINE
from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until

OVERLOADED = 5
WAIT = """
[[step]]
action = "wait"
duration = "%s"
"""

# A sim of NAT with the same ports, names, files and addresses in every attempt: whatever was shared would show.
TRANSLATED = """
[[step]]
action = "gen-file"
id = "page"
content = "from $NETSIM_IP_SERVER"

[[step]]
action = "spawn"
id = "web"
device = "server"
cmd = ["python3", "-u", "-c", '''
import http.server, pathlib
page = pathlib.Path("${page.path}").read_bytes()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page + b" to %s:%d" % (self.client_address[0].encode(), self.client_address[1]))
server = http.server.HTTPServer(("", 8000), Handler)
print("ready")
server.serve_forever()
''']
[step.captures.ready]
regex = "ready"

[[step]]
id = "fetch"
device = "client"
requires = ["web.ready"]
cmd = ["curl", "-sS", "--local-port", "4000", "http://$NETSIM_IP_SERVER:8000"]
[step.captures.answer]
regex = "from .*"

[[step]]
id = "listening"
device = "server"
cmd = ["sh", "-c", "hostname; ss -Hltn; ip -o link; ip route"]
[step.captures.seen]
regex = "(?s).+"
"""

# Names that mean something else in the middle, asked of the resolver of the lab.
NAMED = """
[dns]
"www.example" = "server"
[[step]]
id = "before"
device = "client"
cmd = ["getent", "ahosts", "www.example"]
[step.captures.seen]
regex = ".+"
[[step]]
action = "set-dns"
entries = { "www.example" = "client", "new.example" = "10.9.8.7" }
[[step]]
id = "after"
device = "server"
cmd = ["sh", "-c", "getent ahosts www.example; getent ahosts new.example; cat /etc/hosts"]
[step.captures.seen]
regex = ".+"
"""

# A link that loses the same packets in every attempt.
LOSSY = """
[[step]]
action = "spawn"
id = "receiver"
device = "server"
cmd = ["python3", "-u", "-c", '''
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 9000))
print("ready")
found = []
while (data := sock.recv(100)) != b"end":
    found.append(data.decode())
print("found", *found)
''']
[step.captures.ready]
regex = "ready"
[step.captures.seen]
regex = "found (.+)"
[[step]]
id = "send"
device = "client"
requires = ["receiver.ready"]
cmd = ["python3", "-c", '''
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(40):
    sock.sendto(b"%d" % number, ("$NETSIM_IP_SERVER", 9000))
for _ in range(40):
    time.sleep(0.002)
    sock.sendto(b"end", ("$NETSIM_IP_SERVER", 9000))
''']
[[step]]
action = "wait-for"
id = "receiver"
"""
LOSSY_NETWORK = """
seed = 3
exclusive = false
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
impair = { loss_pct = 30 }
"""

FAIL = """
[[step]]
device = "client"
cmd = ["false"]
"""

FOREVER = """
[[step]]
id = "long"
device = "client"
cmd = ["sh", "-c", "echo begun; %s sleep 300 & sleep 300"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def span(project: Project, sim: str) -> tuple[datetime, datetime]:
    """When a sim began and ended."""
    events = project.events(sim)
    began, ended = (datetime.fromisoformat(event["timestamp"]) for event in (events[0], events[-1]))
    return began, ended


def overlap(project: Project, one: str, other: str) -> bool:
    (begun, ended), (other_begun, other_ended) = span(project, one), span(project, other)
    return begun < other_ended and other_begun < ended


def statuses(project: Project) -> list[tuple[str, str]]:
    """Every sim with its status, in the manifest's order."""
    return [(sim["sim_dir"], sim["status"]) for sim in project.read("manifest.json")["simulations"]]


def test_sims_overlap_and_are_listed_in_the_order_given(project: Project) -> None:
    names = ["slowest", "slow", "quick"]
    sims = [project.sim(name, WAIT % wait) for name, wait in zip(names, ("2s", "1.5s", "1s"), strict=True)]
    ended = project.run(*sims, "--jobs", "3")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(overlap(project, one, other) for one in names for other in names)
    assert statuses(project) == [(name, "ok") for name in names]
    verdicts = [line.split()[1] for line in ended.stdout.splitlines() if ": passed" in line]
    assert verdicts == ["quick:", "slow:", "slowest:"]
    summary = ended.stdout.partition("Status")[2]
    assert [summary.index(name) for name in names] == sorted(summary.index(name) for name in names)
    assert project.processes() == {}


def test_one_that_runs_alone_overlaps_none(project: Project) -> None:
    alone = project.root / "alone.toml"
    alone.write_text('[sim]\nexclusive = true\n[[router]]\nname = "r"\n' + WAIT % "300ms")
    measuring = (
        '[[step]]\ndevice = "client"\ncmd = ["echo", "8"]\ncaptures.n.regex = ".*"\nresults.down_bytes = "client.n"\n'
    )
    sims = [
        alone,
        project.sim("one", WAIT % "600ms"),
        project.sim("measuring", measuring + WAIT % "300ms"),
        project.sim("two", WAIT % "600ms"),
    ]
    ended = project.run(*sims, "--jobs", "4")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert overlap(project, "one", "two")
    for lonely in ("alone", "measuring"):
        others = {"alone", "one", "measuring", "two"} - {lonely}
        assert [other for other in others if overlap(project, lonely, other)] == []


def test_a_hundred_attempts_of_three_kinds_of_sims_give_one_result_each(project: Project) -> None:
    """NAT, names, and a link that loses what its seed says; a busy machine is late with it, and as lossy."""
    attempts = range(1, 35)
    sims = [project.sim("nat", TRANSLATED), project.sim("names", NAMED), project.sim("lossy", LOSSY, LOSSY_NETWORK)]
    ended = project.run(*sims, "--repeat", str(len(attempts)), "--jobs", "8")
    assert ended.returncode in (0, OVERLOADED), ended.stdout[-3000:] + ended.stderr
    found: dict[str, set[str]] = {}
    for sim in ("nat", "names", "lossy"):
        for attempt in attempts:
            captures = project.read(f"{sim}-attempt-{attempt}/results.json")["captures"]
            own = ("elapsed_s", "page.path")  # what differs between attempts
            seen = {key: capture["history"] for key, capture in captures.items() if not key.endswith(own)}
            found.setdefault(sim, set()).add(json.dumps(seen, sort_keys=True))
    (nat,), (names,) = found["nat"], found["names"]
    assert "from 198.18.1.2 to 198.18.0." in nat
    assert "10.9.8.7" in names
    if ENGINE == "emulator":  # netem's fates hang on the times of packets too
        (lossy,) = found["lossy"]
        assert 15 < len(json.loads(lossy)["receiver.seen"][0].split()) < 40
    pages = {(project.latest / f"nat-attempt-{number}/files/page/content").read_text() for number in attempts}
    assert pages == {"from 198.18.1.2"}
    assert project.processes() == {}


def test_one_that_fails_or_times_out_or_is_killed_touches_no_other(project: Project) -> None:
    endless = '[[step]]\ndevice = "client"\ncmd = ["sleep", "300"]\n'
    sims = [
        project.sim("stuck", FOREVER % "trap '' TERM;"),
        project.sim("failing", FAIL),
        project.sim("dies", endless),
        project.sim("lives", WAIT % "2s"),
    ]
    process = project.start(*sims, "--jobs", "4", "--timeout", "4s")
    wait_until(project.has_event("dies", "process_started"), 30)
    os.kill(_agent_of(project, "dies"), signal.SIGKILL)
    ended = finish(process)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert statuses(project) == [("stuck", "error"), ("failing", "error"), ("dies", "error"), ("lives", "ok")]
    errors = {name: project.read(f"{name}/sim.json")["error"]["phase"] for name in ("stuck", "failing", "dies")}
    assert errors == {"stuck": "timeout", "failing": "step", "dies": "internal"}
    assert "1 passed, 3 failed" in ended.stdout
    assert project.processes() == {}


def _agent_of(project: Project, sim: str) -> int:
    """The process of patchbay, PID 2 of its sandbox, that carries one sim among several."""
    directory = str((project.latest / sim).resolve())
    wanted = f"PATCHBAY_NODE_DIR={directory}/".encode()
    pid = next(pid for pid in project.processes() if wanted in Path(f"/proc/{pid}/environ").read_bytes())
    while _field(pid, "NSpid").split()[-1] != "2":
        pid = int(_field(pid, "PPid"))
    return pid


def _field(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/status").read_text().partition(f"{name}:\t")[2].partition("\n")[0]


def test_fail_fast_begins_nothing_more(project: Project) -> None:
    sims = [
        project.sim("begun", WAIT % "1.5s"),
        project.sim("failing", FAIL),
        project.sim("never", WAIT % "1s"),
    ]
    ended = project.run(*sims, "--jobs", "2", "--fail-fast")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert statuses(project) == [("begun", "ok"), ("failing", "error"), ("never", "pending")]
    rows = [line.split()[0] for line in ended.stdout.partition("──")[2].splitlines()[1:4]]
    assert rows == ["failing", "begun", "never"]
    assert project.run(*sims, "--jobs", "2").returncode == 1
    assert statuses(project) == [("begun", "ok"), ("failing", "error"), ("never", "ok")]


@pytest.mark.parametrize("requests", [1, 2])
def test_signals_end_all_that_run(project: Project, requests: int) -> None:
    sims = [project.sim(f"s{number}", FOREVER % ("trap '' TERM;" if requests == 2 else "")) for number in range(4)]
    process = project.start(*sims, "--jobs", "3")
    for number in range(3):
        wait_until(project.has_event(f"s{number}", "process_started"), 30)
    wait_until(lambda: project.read("progress.json")["current_sim"] == "s0", 10)
    for _ in range(requests):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    ended = finish(process, 20)
    assert ended.returncode == 130
    assert statuses(project) == [("s0", "interrupted"), ("s1", "interrupted"), ("s2", "interrupted"), ("s3", "pending")]
    assert project.processes() == {}


def test_a_project_says_what_runs_and_how(project: Project) -> None:
    (project.root / "sims").mkdir()
    for name in ("one", "two"):
        project.sim(f"sims/{name}", WAIT % "1s")
    settings = 'simulations = "sims"\njobs = 2\ntimeout = "60s"\nwork_dir = "results"\n'
    (project.root / "patchbay.toml").write_text(settings)
    ended = project.run()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = (path for path in (project.root / "results").iterdir() if not path.is_symlink())
    assert {"sims_one", "sims_two"} <= {path.name for path in run.iterdir()}
    assert "2 passed" in ended.stdout
    assert "1 passed" in project.run("--filter", "one", "--timeout", "30s", "--work-dir", "elsewhere").stdout
    assert (project.root / "elsewhere" / "latest" / "sims_one").is_dir()
    late = project.run("--timeout", "500ms")
    assert (late.returncode, "2 failed" in late.stdout) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--jobs", "0"),
        ("--jobs", "-1"),
        ("--jobs", "many"),
        ("--jobs", "1.5"),
        ("--jobs", "٣"),
        ("--jobs", "99999999999999999999"),
        ("--repeat", "0"),
        ("--filter", "nothing"),
        ("--matrix", "axis"),
        ("--matrix", "axis=value"),
    ],
)
def test_nonsense_is_refused_before_anything_runs(project: Project, arguments: tuple[str, str]) -> None:
    ended = project.run(project.sim("web", WAIT % "1s"), *arguments)
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert arguments[0] in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (project.root / ".patchbay-work").exists()


def test_a_terminal_has_a_line_for_each_sim_that_runs(project: Project) -> None:
    sims = [str(project.sim(name, WAIT % "2s")) for name in ("one", "two", "three")]
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "patchbay_runner", "run", *sims, "--jobs", "3"],
        cwd=project.root,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    try:
        with suppress(OSError):  # the end of a terminal whose last program has gone
            while chunk := os.read(leader, 65_536):
                shown += chunk
        assert process.wait(60) == 0, shown
    finally:
        os.close(leader)
        process.kill()
        process.wait()
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    rows = [rf"{name} +1/1 +wait +[0-9.]+ m?s\s+" for name in ("one", "two", "three")]
    lines = r"\S +".join(rows)
    assert re.search(rf"\S +{lines}0 of 3 sims done, 3 running", drawn), drawn
