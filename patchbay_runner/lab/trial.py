"""A small lab that is built to see whether this host can: a home behind a carrier, an impaired link, a datagram."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError, LabError, PatchbayError
from patchbay_runner.kernel.links import has_netem
from patchbay_runner.kernel.probes import Probe, fine
from patchbay_runner.kernel.sandbox import SandboxContext
from patchbay_runner.lab.lab import Lab
from patchbay_runner.model.links import LinkCondition
from patchbay_runner.model.nat import nat_mode
from patchbay_runner.model.topology import Device, Interface, IpSupport, Router, Topology

TRIAL = "a lab"

_PORT = 7
_PATIENCE_S = 10.0


def run_trial(context: SandboxContext) -> int:
    """A sandbox entry: sends a Probe."""
    context.control.send(msgspec.json.encode(_trial()))
    return 0


def _trial() -> Probe:
    try:
        _build_and_talk()
    except HostError as error:
        return _failed(error.problem, error.remedy)
    except (PatchbayError, OSError) as error:
        return _failed(str(error), "")
    engine = "netem" if has_netem() else "the emulator"
    return fine(TRIAL, f"datagrams crossed a home NAT, a carrier NAT and a link impaired by {engine}")


def _build_and_talk() -> None:
    """Raises LabError, OSError (TimeoutError when nothing arrives)."""
    lab = Lab.build(_topology())
    try:
        server = lab.socket("server", socket.AF_INET, socket.SOCK_DGRAM)
        client = lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM)
        with server, client:
            server.settimeout(_PATIENCE_S)
            client.settimeout(_PATIENCE_S)
            server.bind(("", _PORT))
            (address,) = (found for found in lab.addresses("server") if found.version == 4)
            client.sendto(b"there", (str(address), _PORT))
            _, outside = server.recvfrom(16)
            if outside[0] in map(str, lab.addresses("client")):
                raise LabError("the datagram arrived untranslated")
            server.sendto(b"back", outside)
            client.recv(16)
    finally:
        lab.close()


def _topology() -> Topology:
    # That IPv6 is missing is a probe of its own.
    families = IpSupport.DUAL_STACK if Path("/proc/sys/net/ipv6").is_dir() else IpSupport.V4_ONLY
    return Topology(
        routers=(
            Router(name="datacenter", ip_support=families),
            Router(name="carrier", nat=nat_mode("cgnat"), ip_support=families),
            Router(name="home", upstream="carrier", nat=nat_mode("home"), ip_support=families),
        ),
        devices=(
            Device(name="server", interfaces=(Interface(name="eth0", gateway="datacenter"),)),
            Device(
                name="client",
                interfaces=(Interface(name="eth0", gateway="home", impair=LinkCondition(latency_ms=1.0)),),
            ),
        ),
    )


def _failed(found: str, remedy: str) -> Probe:
    meaning = "a small network could not be built, or carried nothing"
    return Probe(name=TRIAL, verdict="missing", found=found, meaning=meaning, remedy=remedy, is_needed=True)
