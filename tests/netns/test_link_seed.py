"""`[sim] seed` decides which packets a link loses; neither the run nor the other links do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.netns.support.link_world import ENGINE
from tests.netns.support.running import Project

pytestmark = pytest.mark.skipif(ENGINE != "emulator", reason="netem's fates hang on the times of packets too")

DEVICES = {
    "client": '[device.client.eth0]\ngateway = "home"\nimpair = { latency_ms = 2, loss_pct = 30 }\n',
    "other": '[device.other.eth0]\ngateway = "home"\nimpair = { latency_ms = 2, jitter_ms = 1, loss_pct = 30 }\n',
}
ROUTERS = '[[router]]\nname = "dc"\n[[router]]\nname = "home"\nnat = "home"\n[device.server.eth0]\ngateway = "dc"\n'

RECEIVE = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 9000))
print("ready", flush=True)
found = []
while (data := sock.recv(100)) != b"end":
    if data.startswith(b"client"):
        found.append(data[6:].decode())
print("found", ",".join(found), flush=True)
"""

SEND = """
import os, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
to = (os.environ["NETSIM_IP_SERVER"], 9000)
name, last = sys.argv[1:]
for number in range(300):
    sock.sendto(b"%s%d" % (name.encode(), number), to)
    time.sleep(0.0002)
for _ in range(40 if last == "last" else 0):
    time.sleep(0.005)
    sock.sendto(b"end", to)
"""


def steps(*senders: str) -> str:
    sending = "".join(
        f"[[step]]\ndevice = '{name}'\ncmd = ['python3', '-c', '''{SEND}''', '{name}', '{position}']\n"
        for name, position in zip(senders, [*["first"] * (len(senders) - 1), "last"], strict=True)
    )
    return f"""
[[step]]
action = "spawn"
id = "receiver"
device = "server"
cmd = ["python3", "-c", '''{RECEIVE}''']
[step.captures.ready]
regex = "ready"
[step.captures.found]
regex = "found (.*)"
[[step]]
action = "wait"
duration = "1ms"
requires = ["receiver.ready"]
{sending}
[[step]]
action = "wait-for"
id = "receiver"
"""


def write(project: Project, name: str, seed: str, devices: tuple[str, ...]) -> Path:
    topology = f"seed = {seed}\n[matrix]\nround = [1, 2]\n{ROUTERS}" + "".join(DEVICES[each] for each in devices)
    return project.sim(name, steps(*[each for each in devices if each != "client"], "client"), topology)


def test_a_seed_loses_the_same_packets_whatever_else_the_sim_does(tmp_path: Path) -> None:
    project = Project(tmp_path)
    paths = [
        write(project, "alone", "7", ("client",)),
        write(project, "beside", "7", ("other", "client")),
        write(project, "another", "8", ("client",)),
    ]
    ended = project.run(*paths)
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr  # a busy machine is late, and as lossy
    alone, again, beside, once_more, other, _ = (
        project.read(f"{name}-{number}/results.json")["captures"]["receiver.found"]["value"].split(",")
        for name in ("alone", "beside", "another")
        for number in (1, 2)
    )
    assert 150 < len(alone) < 270
    assert alone == again == beside == once_more
    assert alone != other
