"""The packets of labs that programs build: of what is there, of what comes, and of what has gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner import Device, Lab
from patchbay_runner.errors import InputError, LabError
from tests.pcapng import INBOUND, OUTBOUND, Packet, read


def ping(device: Device, target: object, pattern: str) -> None:
    """Sends two echo requests that carry a pattern, and gets their answers."""
    device.run(["ping", "-c2", "-i0.05", "-p", pattern, str(target)])


def carrying(record: Path, interface: str, pattern: str) -> list[Packet]:
    return read(record / f"captures/{interface}.pcapng").with_text(bytes.fromhex(pattern * 8))


def captured(record: Path) -> dict[str, dict[str, Any]]:
    events = [json.loads(line) for line in (record / "events.jsonl").read_text().splitlines()]
    return {f"{each['node']}.{each['iface']}": each for each in events if each["kind"] == "packets_captured"}


def test_nodes_that_come_and_go_are_captured(tmp_path: Path) -> None:
    with Lab(outdir=tmp_path, capture=True) as lab:
        dc, home = lab.add_router("dc"), lab.add_router("home", nat="home")
        server, laptop = lab.add_device("server", dc), lab.add_device("laptop", home)
        ping(laptop, server.ip, "cafe")
        laptop.add_interface("eth1", dc)
        laptop.set_default_route("eth1")
        ping(laptop, server.ip, "beef")
        laptop.remove()
        again = lab.add_device("laptop", dc)
        ping(again, server.ip, "f00d")
        lab.add_region("eu")
        far = lab.add_device("far", lab.add_router("paris", region="eu"))
        ping(far, server.ip, "d00d")
    for interface in ("laptop.eth0", "home.lan", "home.ix", "dc.ix", "dc.lan", "server.eth0"):
        assert len(carrying(tmp_path, interface, "cafe")) == 4, interface
    assert {packet.direction for packet in carrying(tmp_path, "laptop.eth0", "cafe")} == {INBOUND, OUTBOUND}
    assert len(carrying(tmp_path, "laptop.eth1", "beef")) == 4
    assert carrying(tmp_path, "laptop.eth0", "beef") == []
    # The device that came again goes on in the file of the one that went.
    assert len(carrying(tmp_path, "laptop.eth0", "f00d")) == 4
    assert len(carrying(tmp_path, "paris.lan", "d00d")) == len(carrying(tmp_path, "far.eth0", "d00d")) == 4
    counts = captured(tmp_path)
    assert counts["laptop.eth0"]["packets"] == len(read(tmp_path / "captures/laptop.eth0.pcapng").packets)


def test_nothing_is_held_of_nodes_that_went(tmp_path: Path) -> None:
    with Lab(outdir=tmp_path, capture={"max_size": "1MB", "snaplen": 128}) as lab:
        dc = lab.add_router("dc")
        server = lab.add_device("server", dc)
        before = descriptors(server)
        assert before > 10
        for number in range(12):  # more rings than there is memory for at once
            device = lab.add_device(f"d{number}", dc)
            device.run(["ping", "-c1", "-p", "cafe", str(server.ip)])
            device.remove()
        assert descriptors(server) == before
    assert len(carrying(tmp_path, "server.eth0", "cafe")) == 24
    assert len(carrying(tmp_path, "d11.eth0", "cafe")) == 2


def descriptors(device: Device) -> int:
    """How many sockets and namespaces the processes of its sandbox hold."""
    return int(device.run(["sh", "-c", "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -cE 'socket:|net:'"]).stdout)


def test_what_an_earlier_record_captured_is_replaced(tmp_path: Path) -> None:
    for number in range(2):
        with Lab(outdir=tmp_path, capture=True) as lab:
            lab.add_device(f"d{number}", lab.add_router("dc"))
    assert sorted(path.name for path in (tmp_path / "captures").glob("d*.eth0.*")) == ["d1.eth0.pcapng"]


def test_wrong_captures_are_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PATCHBAY_OUTDIR", raising=False)
    with pytest.raises(LabError, match="packets are captured into its record: name outdir"):
        Lab(capture=True)
    with pytest.raises(InputError, match=r"capture\.max_siz: unknown key"):
        Lab(capture={"max_siz": "1MB"}, outdir=tmp_path / "record")
    assert not (tmp_path / "record").exists()
