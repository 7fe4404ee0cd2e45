"""`patchbay run --capture`: real packets in files that tcpdump reads."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from tests.netns.support.running import Project, finish
from tests.netns.support.sandbox_inside import wait_until
from tests.pcapng import INBOUND, OUTBOUND, Capture, read

PING = """
[[step]]
device = "client"
cmd = ["ping", "-c", "3", "-i", "0.05", "-p", "cafe", "{to}"]
"""
PATTERN = bytes.fromhex("cafe" * 8)

# Sends datagrams of 1,000 bytes: how many, to where.
SEND = """
[[step]]
id = "{id}"
device = "client"
cmd = ["python3", "-c", '''
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range({count}):
    sock.sendto(b"%08d" % number + bytes(992), ("$NETSIM_IP_SERVER", 9))
    if number % 50 == 49:
        time.sleep({pause_s})
''']
"""

UNTIL = """
[[step]]
device = "client"
cmd = ["sh", "-c", "until [ -e {file} ]; do sleep 0.02; done"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def capture_of(project: Project, sim: str, interface: str) -> Capture:
    return read(project.latest / sim / "captures" / f"{interface}.pcapng")


def capturer_of(project: Project, command: int) -> int:
    """The process that captures. A program that is being started looks like one for a moment."""
    found: list[int] = []

    def is_alone() -> bool:
        found[:] = project.emulators(command)
        return len(found) == 1

    wait_until(is_alone)
    return found[0]


def tcpdump(path: Path, *expression: str) -> list[str]:
    """What tcpdump prints of a file."""
    ended = subprocess.run(
        ["tcpdump", "-nttr", path, *expression], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "truncated" not in ended.stderr
    return ended.stdout.splitlines()


def files_of(project: Project, sim: str) -> dict[str, dict[str, int]]:
    found = project.read(f"{sim}/sim.json")["packet_captures"]["files"]
    return {f"{each['node']}.{each['iface']}": each for each in found}


def test_every_interface_shows_both_directions_as_its_node_sees_them(project: Project) -> None:
    sim = project.sim("nat", PING.format(to="$NETSIM_IP_SERVER"))
    before_ns = time.time_ns()
    ended = project.run("--capture", sim)
    after_ns = time.time_ns()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    files = files_of(project, "nat")
    assert set(files) == {"ix.ix", "dc.ix", "dc.lan", "home.ix", "home.lan", "server.eth0", "client.eth0"}
    assert project.read("nat/sim.json")["packet_captures"]["missed"] == {}
    for interface, counts in files.items():
        capture = capture_of(project, "nat", interface)
        node, _, name = interface.partition(".")
        assert (capture.name, capture.description, capture.link_type) == (name, f"{name} of {node}", 1)
        assert (capture.resolution, capture.snap_length, capture.application) == (9, 262_144, "patchbay")
        assert capture.statistics[-1] == (counts["packets"], 0) == (len(capture.packets), 0)
        assert sum(packet.length for packet in capture.packets) == counts["bytes"]
        times = [packet.time_ns for packet in capture.packets]
        assert all(before_ns < moment < after_ns for moment in times)
        assert times == sorted(times)
        assert len(tcpdump(project.latest / "nat" / counts["path"])) == len(times)
        if interface == "ix.ix":
            continue
        pings = capture.with_text(PATTERN)
        away = INBOUND if interface in ("home.lan", "dc.ix", "server.eth0") else OUTBOUND
        assert [packet.direction for packet in pings] == [away, 3 - away] * 3
        assert {packet.reception for packet in pings if packet.direction == INBOUND} == {1}
    inside, outside = (
        tcpdump(project.latest / f"nat/captures/{each}.pcapng", "icmp") for each in ("home.lan", "home.ix")
    )
    assert all("10.0.1.2" in line for line in inside)
    assert not any("10.0.1.2" in line for line in outside)
    assert len(inside) == len(outside) == 6


def test_what_the_emulator_takes_out_of_the_way_is_captured_where_it_was_sent(project: Project) -> None:
    topology = """
[[router]]
name = "dc"
region = "eu"
[[router]]
name = "home"
region = "us"
uplink_condition = { latency_ms = 5 }
downlink_condition = { latency_ms = 10, loss_pct = 100 }
[region.eu]
latencies = { us = 20 }
[region.us]
latencies = { eu = 20 }
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
impair = { latency_ms = 5 }
"""
    steps = PING.format(to="$NETSIM_IP_SERVER").replace(
        '"ping"', '"sh", "-c", "ping \\"$@\\"; true", "ping", "-W", "1"'
    )
    ended = project.run("--capture", project.sim("far", steps, topology))
    # A busy host makes it overloaded, which is not what is asked here.
    assert ended.returncode in (0, 5), ended.stdout + ended.stderr
    both = [[OUTBOUND] * 3 + [INBOUND] * 3, [INBOUND] * 3 + [OUTBOUND] * 3]
    for interface in ("home.lan", "home.wan", "region_us.link1", "region_eu.link1", "dc.lan", "server.eth0"):
        pings = capture_of(project, "far", interface).with_text(PATTERN)
        assert len(pings) == 6, interface
        assert sorted(packet.direction for packet in pings) == sorted(both[0]), interface
    lost = capture_of(project, "far", "client.eth0").with_text(PATTERN)
    assert [packet.direction for packet in lost] == [OUTBOUND] * 3


def test_interfaces_that_come_later_are_captured(project: Project) -> None:
    steps = """
[[step]]
action = "add-iface"
device = "client"
interface = "eth1"
gateway = "dc"
[[step]]
device = "client"
cmd = ["ping", "-c", "1", "-p", "cafe", "-I", "eth1", "$NETSIM_IP_SERVER"]
[[step]]
action = "remove-iface"
device = "client"
interface = "eth1"
[[step]]
action = "add-iface"
device = "client"
interface = "eth2"
gateway = "dc"
[[step]]
device = "client"
cmd = ["ping", "-c", "2", "-i", "0.05", "-p", "cafe", "-I", "eth2", "$NETSIM_IP_SERVER"]
[[step]]
action = "replug"
device = "client"
interface = "eth0"
to = "dc"
[[step]]
device = "client"
cmd = ["ping", "-c", "3", "-i", "0.05", "-p", "cafe", "-I", "eth0", "$NETSIM_IP_SERVER"]
[[step]]
device = "client"
cmd = ["sh", "-ec", '''
ip link add own0 type veth peer own1
ip link set own1 up; ip link set own0 up; ip address add 192.0.2.1/24 dev own0
ip neighbour replace 192.0.2.2 lladdr 02:00:00:00:00:99 dev own0
ping -c 1 -W 0.1 -p cafe 192.0.2.2 || true
''']
"""
    ended = project.run("--capture", project.sim("later", steps))
    assert ended.returncode == 0, ended.stdout + ended.stderr

    def pings(interface: str) -> int:
        return len(capture_of(project, "later", f"client.{interface}").with_text(PATTERN))

    assert [pings(name) for name in ("eth1", "eth2", "eth0", "own0", "own1")] == [2, 4, 6, 1, 1]


def test_a_full_file_makes_room_and_the_newest_packets_stay(project: Project) -> None:
    sim = project.sim("flood", SEND.format(id="flood", count=1000, pause_s=0.005))
    ended = project.run("--capture-size", "250kB", sim)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    counts = files_of(project, "flood")["client.eth0"]
    older, newest = (project.latest / "flood/captures" / f"client.eth0{suffix}.pcapng" for suffix in (".older", ""))
    kept = [packet for path in (older, newest) for packet in read(path).packets]
    assert counts["packets"] == len(kept) + counts["overwritten"] >= 1000
    assert counts["overwritten"] > 500
    numbers = [int(packet.data[42:50]) for packet in kept if packet.data[42:50].isdigit() and packet.length == 1042]
    assert numbers == list(range(1000 - len(numbers), 1000))
    # A block of the kernel's comes as a whole.
    assert 125_000 <= older.stat().st_size <= 125_000 + 400_000
    assert all(len(tcpdump(path)) == len(read(path).packets) for path in (older, newest))


def test_packets_that_come_too_fast_are_counted_and_told(project: Project) -> None:
    steps = [UNTIL.format(file="go"), SEND.format(id="flood", count=20_000, pause_s=0), UNTIL.format(file="end")]
    process = project.start("--capture", project.sim("fast", "".join(steps)))
    captured = project.latest / "fast/captures/client.eth0.pcapng"
    wait_until(captured.exists)
    capturer = capturer_of(project, process.pid)
    os.kill(capturer, signal.SIGSTOP)
    (project.root / "go").touch()
    wait_until(
        lambda: any(event["kind"] == "step_finished" and event["id"] == "flood" for event in project.events("fast"))
    )
    os.kill(capturer, signal.SIGCONT)
    (project.root / "end").touch()
    ended = finish(process)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    missed = project.read("fast/sim.json")["packet_captures"]["missed"]
    capture = read(captured)
    assert missed["client"] > 1000
    assert missed["client"] + len(capture.packets) >= 20_000
    assert capture.statistics[-1] == (len(capture.packets), missed["client"])
    assert capture.comments[-1] == "dropped at all interfaces of client together"
    assert "packets came too fast to be captured, at" in ended.stdout


def test_a_kill_leaves_files_that_can_be_read(project: Project) -> None:
    steps = PING.format(to="$NETSIM_IP_SERVER") + UNTIL.format(file="never")
    process = project.start("--capture", project.sim("killed", steps))
    path = project.latest / "killed/captures/server.eth0.pcapng"
    wait_until(lambda: path.exists() and len(read(path).with_text(PATTERN)) == 6)
    os.kill(project.sandbox(process.pid)["agent"], signal.SIGKILL)
    assert finish(process).returncode == 3
    assert project.processes() == {}
    assert len(tcpdump(path, "icmp")) == 6
    assert project.read("killed/sim.json")["packet_captures"] is None


def test_an_end_of_the_capture_by_itself_ends_the_sim(project: Project) -> None:
    process = project.start("--capture", project.sim("blind", UNTIL.format(file="never")))
    wait_until((project.latest / "blind/captures/client.eth0.pcapng").exists)
    capturer = capturer_of(project, process.pid)
    os.kill(capturer, signal.SIGKILL)
    ended = finish(process)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "the packet capture has ended" in ended.stdout


def test_a_file_that_cannot_grow_ends_the_sim_as_a_full_disk_does(project: Project) -> None:
    steps = [UNTIL.format(file="go"), SEND.format(id="flood", count=1000, pause_s=0.005), UNTIL.format(file="never")]
    sim = project.sim("full", "".join(steps))
    process = project.start("--capture", sim)
    wait_until((project.latest / "full/captures/client.eth0.pcapng").exists)
    capturer = capturer_of(project, process.pid)
    subprocess.run(["prlimit", "--pid", str(capturer), "--fsize=100000"], check=True, timeout=10)
    (project.root / "go").touch()
    ended = finish(process)
    assert ended.returncode == 4, ended.stdout + ended.stderr
    assert "cannot write captures/" in ended.stdout
    assert "File too large" in ended.stdout


def test_a_sim_asks_for_itself_and_the_command_line_has_the_last_word(project: Project) -> None:
    path = project.sim("asks", PING.format(to="$NETSIM_IP_SERVER"))
    path.write_text(path.read_text().replace("[sim]", '[sim]\nuser = "root"\ncapture = { snaplen = 60 }', 1))
    assert project.run(path).returncode == 0
    capture = capture_of(project, "asks", "client.eth0")
    assert capture.snap_length == 60
    assert {len(packet.data) for packet in capture.packets} <= {42, 54, 60}
    assert max(packet.length for packet in capture.packets) == 98
    file = project.latest / "asks/captures/client.eth0.pcapng"
    assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (os.geteuid(), 0o644)
    assert project.run("--no-capture", path).returncode == 0
    assert not (project.latest / "asks/captures").exists()
    assert project.read("asks/sim.json")["packet_captures"] is None


def test_a_run_under_sudo_gives_its_captures_to_the_caller(project: Project) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    ended = project.run("--capture", project.sim("given", ""), SUDO_UID="65534", SUDO_GID="65534")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = list((project.latest / "given/captures").iterdir())
    assert len(found) == 7
    assert {path.stat().st_uid for path in (*found, found[0].parent)} == {65534}
