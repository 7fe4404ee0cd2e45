"""NAT64 against Debian's tayga and against the kernel's own IPv4 NAT: one router, one path, one run, by turns.

The phone reaches the same server through 64:ff9b::/96 (ours), through another prefix (tayga) and by IPv4. Each figure
is the median of the rounds. tayga needs /dev/net/tun, so that it is measured by root only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from patchbay_runner.kernel import nftables
from patchbay_runner.kernel.nat64 import WELL_KNOWN_PREFIX, Nat64, Nat64Config
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab.agent import Agent
from patchbay_runner.lab.client import LabClient
from patchbay_runner.lab.environment import program_environment
from patchbay_runner.lab.lab import Lab, LabOptions
from patchbay_runner.model.topology import Device, Interface, Router, Topology

GATE = "gate"
# tayga refuses the well-known prefix for the test networks that labs are made of (RFC 6052, section 3.1).
TAYGA_PREFIX = "2001:db8:64::"
TAYGA_POOL = "192.168.255.0/24"
TAYGA_CONFIG = f"tun-device tayga\nipv4-addr 192.168.255.1\nprefix {TAYGA_PREFIX}/96\ndynamic-pool {TAYGA_POOL}\n"
TAYGA_IPV6 = "ipv6-addr 2001:db8:1:ffff::1\n"
# iperf3 turns a client away that comes while it still ends the transfer before.
_TRIES = 20
DIRECTIONS = {"up": (), "down": ("-R",)}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prints and returns TCP Mbit/s both ways, UDP datagrams a second, and the round trip in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args(arguments)
    with Zygote.start({"nat64": serve}) as zygote, zygote.sandbox("nat64") as sandbox:
        sandbox.wait_ready(20)
        lab = LabClient(sandbox.control)
        state = lab.state()
        server = state["devices"]["server"]["interfaces"][0]["ip"]
        paths = {"ours": _embedded(str(WELL_KNOWN_PREFIX.network_address), server), "ipv4": server}
        with tempfile.TemporaryDirectory() as directory:
            if _start_tayga(lab, Path(directory)):
                paths["tayga"] = _embedded(TAYGA_PREFIX, server)
            lab.popen("server", ["iperf3", "--server"])
            time.sleep(0.5)
            report = {"benchmark": "nat64", **_measure(lab, paths, options.rounds, options.seconds)}
        lab.close()
    print(json.dumps(report))
    return report


def serve(context: SandboxContext) -> int:
    """The sandbox's entry: the lab with our translator in its router, and the agent that drives it."""
    routers = (Router(name=GATE), Router(name="dc"))
    places = (("phone", GATE), ("server", "dc"))
    devices = tuple(Device(name=name, interfaces=(Interface(name="eth0", gateway=at),)) for name, at in places)
    options = LabOptions(open_files=context.open_files)
    lab = Lab.build(Topology(routers=routers, devices=devices), options)
    gate = lab._namespaces[GATE]
    nftables.load(gate, _masquerade("ix"), GATE)
    Nat64.start(gate, Nat64Config(), GATE)
    asyncio.run(Agent(program_environment(os.environ), options, lab).serve(context.control))
    return 0


def _masquerade(wan: str) -> str:
    return (
        f"table ip hide {{\n chain post {{\n type nat hook postrouting priority srcnat;\n"
        f' oifname "{wan}" masquerade\n }}\n}}\n'
    )


def _embedded(prefix: str, v4: str) -> str:
    octets = bytes(map(int, v4.split(".")))
    return str(IPv6Address(int(IPv6Address(prefix)) + int.from_bytes(octets)))


def _start_tayga(lab: LabClient, directory: Path) -> bool:
    """Whether it could be started: installed, and the tun device may be opened."""
    if shutil.which("tayga") is None or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return False
    config = directory / "tayga.conf"
    config.write_text(TAYGA_CONFIG + TAYGA_IPV6 + f"data-dir {directory}\n")
    lab.run(GATE, ["tayga", "--config", str(config), "--mktun"])
    commands = f"""ip link set tayga up
        ip route add {TAYGA_POOL} dev tayga
        ip -6 route add {TAYGA_PREFIX}/96 dev tayga"""
    lab.run(GATE, ["sh", "-ec", "sysctl -qw net.ipv6.conf.tayga.disable_ipv6=0\n" + commands])
    lab.popen(GATE, ["tayga", "--config", str(config), "--nodetach"])
    time.sleep(0.5)
    return True


def _measure(lab: LabClient, paths: dict[str, str], rounds: int, seconds: int) -> dict[str, Any]:
    figures: dict[str, Callable[[str], float]] = {
        f"tcp_{name}_mbit": lambda to, options=options: _tcp_mbit(lab, to, seconds, options)  # type: ignore[misc]
        for name, options in DIRECTIONS.items()
    }
    figures["udp_datagrams_per_s"] = lambda to: _udp_rate(lab, to, seconds)
    figures["round_trip_ms"] = lambda to: _round_trip_ms(lab, to)
    found: dict[str, dict[str, list[float]]] = {path: {figure: [] for figure in figures} for path in paths}
    for _ in range(rounds):
        for figure, measure in figures.items():
            for path, address in paths.items():
                found[path][figure].append(measure(address))
    medians = {
        path: {figure: round(statistics.median(values), 3) for figure, values in of_path.items()}
        for path, of_path in found.items()
    }
    report: dict[str, Any] = {"rounds": rounds, "seconds": seconds, **medians}
    if "tayga" in medians:
        report["times_tayga"] = {
            figure: round(medians["ours"][figure] / medians["tayga"][figure], 2) for figure in figures
        }
    return report


def _tcp_mbit(lab: LabClient, to: str, seconds: int, options: tuple[str, ...]) -> float:
    return float(_iperf(lab, to, seconds, *options)["sum_received"]["bits_per_second"]) / 1e6


def _udp_rate(lab: LabClient, to: str, seconds: int) -> float:
    """Received, of more datagrams of 1,200 bytes than any of them can carry."""
    received = _iperf(lab, to, seconds, "--udp", "--length", "1200", "--bitrate", "0")["sum_received"]
    return (float(received["packets"]) - float(received["lost_packets"])) / float(received["seconds"])


def _iperf(lab: LabClient, to: str, seconds: int, *options: str) -> dict[str, Any]:
    command = ["iperf3", "--client", to, "--time", str(seconds), "--json", *options]
    for _ in range(_TRIES):
        done: subprocess.CompletedProcess[bytes] = lab.run("phone", command)
        report: dict[str, Any] = json.loads(done.stdout)
        if "error" not in report:
            end: dict[str, Any] = report["end"]
            return end
        time.sleep(0.2)  # the server is not done with the transfer before
    raise RuntimeError(report["error"])


def _round_trip_ms(lab: LabClient, to: str) -> float:
    """The mean of 200 pings."""
    summary = lab.run("phone", ["ping", "-q", "-n", "-c200", "-i0.005", to]).stdout.decode()
    return float(summary.rpartition("= ")[2].split("/")[1])


if __name__ == "__main__":
    main()
