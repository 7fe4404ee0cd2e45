"""Blocks of pcapng files as tcpdump and the draft's rules read them, and packets on their way from a ring to a file."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner.kernel.capture import pcapng
from patchbay_runner.kernel.capture.writer import InterfaceFile
from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.results.packetfiles import PacketFiles
from tests.pcapng import parse, read

SECOND_NS = 1_000_000_000
ETHERNET, NO_HEADER, PPP = 1, 0xFFFE, 512
OUTGOING = 4
FRAME = bytes.fromhex("020000000002 020000000001 0800") + b"payload"


def file_head(link_type: int = pcapng.ETHERNET) -> bytes:
    return pcapng.section("patchbay", "Linux") + pcapng.interface(link_type, 100, "eth0", "eth0 of web", "Linux")


@pytest.mark.parametrize("size", range(1, 9))
def test_packets_of_every_length_are_read_back(size: int) -> None:
    data = bytes(range(size))
    before, behind = pcapng.packet(1_700_000_000 * SECOND_NS + 123_456_789, size, 1500, 0b01001)
    capture = parse(file_head() + before + data + behind + pcapng.statistics(5 * SECOND_NS, 1, 2, "why"))
    assert (capture.link_type, capture.snap_length, capture.name, capture.description) == (
        1,
        100,
        "eth0",
        "eth0 of web",
    )
    (packet,) = capture.packets
    assert (packet.time_ns, packet.data, packet.length) == (1_700_000_000_123_456_789, data, 1500)
    assert (packet.direction, packet.reception) == (1, 2)
    assert (capture.statistics, capture.comments) == ([(1, 2)], ["why"])


def test_tcpdump_reads_times_and_lengths(tmp_path: Path) -> None:
    packets = [pcapng.packet(1_700_000_000 * SECOND_NS + each, len(FRAME), 900, 2) for each in (1, 999_999_999)]
    path = tmp_path / "two.pcapng"
    path.write_bytes(file_head() + b"".join(before + FRAME + behind for before, behind in packets))
    told = subprocess.run(
        ["tcpdump", "--nano", "-ttner", path], capture_output=True, text=True, check=True, timeout=30
    ).stdout.splitlines()
    assert [line.split()[0] for line in told] == ["1700000000.000000001", "1700000000.999999999"]
    assert all("length 900" in line for line in told)


@pytest.mark.parametrize(
    ("hardware_type", "link_type"), [(1, 1), (772, 1), (NO_HEADER, 101), (768, 101), (PPP, 113), (778, 113)]
)
def test_kinds_of_interfaces_have_their_link_type(hardware_type: int, link_type: int) -> None:
    assert pcapng.link_type(hardware_type) == link_type


def header(**fields: Any) -> tuple[Any, ...]:
    """A packet's header as ring.py unpacks it, of a frame that stands at the beginning of the memory."""
    known = {
        "next": 0, "seconds": 1, "nanoseconds": 2, "captured": len(FRAME), "length": len(FRAME), "status": 1, "mac": 0,
        "net": 14, "tag": 0, "tag_protocol": 0, "protocol": 0x0008, "ifindex": 2, "hardware_type": ETHERNET, "kind": 0,
        "address_length": 6, "address": bytes(8),
    }  # fmt: skip
    return tuple({**known, **fields}.values())


def interface_file(directory: Path, hardware_type: int = ETHERNET, max_bytes: int = 250_000) -> InterfaceFile:
    return InterfaceFile(PacketFiles(directory, PacketCapture(max_bytes)), "web", "eth0", hardware_type)


def test_a_vlan_tag_that_the_kernel_keeps_aside_is_put_back(tmp_path: Path) -> None:
    file = interface_file(tmp_path)
    stripped, aside = header(), header(status=0x51, tag=7, tag_protocol=0x88A8, kind=OUTGOING)
    old_kernel = header(status=0x11, tag=8)
    file.add(memoryview(FRAME), [(0, stripped), (0, aside), (0, old_kernel)])
    plain, tagged, by_default = read(tmp_path / "captures/web.eth0.pcapng").packets
    assert (plain.data, plain.direction, plain.reception) == (FRAME, 1, 1)
    assert tagged.data == FRAME[:12] + bytes.fromhex("88a80007") + FRAME[12:]
    assert (tagged.length, tagged.direction) == (len(FRAME) + 4, 2)
    assert by_default.data[12:16] == bytes.fromhex("81000008")


def test_an_interface_with_headers_of_its_own_kind_is_written_cooked(tmp_path: Path) -> None:
    file = interface_file(tmp_path, PPP)
    file.add(memoryview(FRAME), [(0, header(hardware_type=PPP, kind=OUTGOING, address=b"\2\0\0\0\0\1\0\0"))])
    capture = read(tmp_path / "captures/web.eth0.pcapng")
    head = struct.pack(">HHH8sH", OUTGOING, PPP, 6, b"\2\0\0\0\0\1\0\0", 0x0800)
    assert (capture.link_type, capture.packets[0].data) == (113, head + b"payload")


def test_an_interface_of_another_kind_under_the_same_name_begins_anew(tmp_path: Path) -> None:
    file = interface_file(tmp_path)
    file.add(memoryview(FRAME), [(0, header())])
    file.become(NO_HEADER)
    file.become(NO_HEADER)
    file.add(memoryview(FRAME), [(0, header(mac=14, captured=7, hardware_type=NO_HEADER))])
    older, newer = (read(tmp_path / f"captures/web.eth0{suffix}.pcapng") for suffix in (".older", ""))
    assert (older.link_type, [packet.data for packet in older.packets]) == (1, [FRAME])
    assert (newer.link_type, [packet.data for packet in newer.packets]) == (101, [b"payload"])


def test_only_the_newest_half_and_what_is_written_are_kept(tmp_path: Path) -> None:
    file = interface_file(tmp_path)
    packets = [(0, header(seconds=second, length=1000)) for second in range(2000)]
    for first in range(0, 6000, 2000):
        for start in range(0, 2000, 100):
            file.add(memoryview(FRAME), packets[start : start + 100])
        assert file.counts().packets == first + 2000
    counts = file.counts()
    older, newer = (tmp_path / f"captures/web.eth0{suffix}.pcapng" for suffix in (".older", ""))
    kept = [packet.time_ns // SECOND_NS for path in (older, newer) for packet in read(path).packets]
    assert counts.overwritten + len(kept) == counts.packets == 6000
    assert counts.bytes == 6_000_000
    assert kept == [second % 2000 for second in range(6000 - len(kept), 6000)]
    assert 125_000 <= older.stat().st_size < 135_000
    assert newer.stat().st_size < 125_000


def test_interfaces_whose_names_look_alike_have_files_of_their_own(tmp_path: Path) -> None:
    files = PacketFiles(tmp_path, PacketCapture())
    assert files.path("a", "b.c") == "captures/a.b.c.pcapng"
    assert files.path("a.b", "c") == "captures/a.b.c-2.pcapng"
    assert files.path("a", "b.c") == "captures/a.b.c.pcapng"
