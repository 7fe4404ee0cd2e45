"""Reads pcapng files block by block, as the draft describes them, and refuses what it would not allow."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

INBOUND, OUTBOUND = 1, 2


@dataclass
class Packet:
    """A packet. `direction` is INBOUND or OUTBOUND, `reception` 1 for unicast, 2 for multicast, 3 for broadcast."""

    time_ns: int
    data: bytes
    length: int
    direction: int
    reception: int

    @property
    def is_ipv4(self) -> bool:
        return self.data[12:14] == b"\x08\x00"


@dataclass
class Capture:
    """A file: what it says of its interface, its packets, and its statistics (received, dropped)."""

    link_type: int = 0
    snap_length: int = 0
    name: str = ""
    description: str = ""
    resolution: int = 0
    application: str = ""
    packets: list[Packet] = field(default_factory=list)
    statistics: list[tuple[int, int]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def with_text(self, text: bytes) -> list[Packet]:
        """The packets that carry it."""
        return [packet for packet in self.packets if text in packet.data]


def read(path: Path) -> Capture:
    """The file as far as its blocks are whole; a torn last block is passed over."""
    return parse(path.read_bytes())


def parse(content: bytes) -> Capture:
    found, at = Capture(), 0
    while at + 12 <= len(content):
        kind, total = struct.unpack_from("<II", content, at)
        if at + total > len(content):
            break
        assert total % 4 == 0
        assert struct.unpack_from("<I", content, at + total - 4) == (total,)
        _take(found, kind, content[at + 8 : at + total - 4], is_first=at == 0)
        at += total
    return found


def _take(found: Capture, kind: int, body: bytes, *, is_first: bool) -> None:
    assert is_first == (kind == 0x0A0D0D0A)
    match kind:
        case 0x0A0D0D0A:
            assert struct.unpack_from("<IHHq", body) == (0x1A2B3C4D, 1, 0, -1)
            found.application = _options(body, 16)[4].decode()
        case 1:
            found.link_type, _, found.snap_length = struct.unpack_from("<HHI", body)
            options = _options(body, 8)
            found.name, found.description = options[2].decode(), options[3].decode()
            found.resolution = options[9][0]
        case 6:
            number, high, low, captured, length = struct.unpack_from("<IIIII", body)
            assert number == 0
            padded = captured + -captured % 4
            (flags,) = struct.unpack("<I", _options(body, 20 + padded)[2])
            data = body[20 : 20 + captured]
            found.packets.append(Packet(high << 32 | low, data, length, flags & 3, flags >> 2 & 7))
        case 5:
            options = _options(body, 12)
            found.statistics.append(tuple(struct.unpack("<Q", options[code])[0] for code in (4, 5)))  # type: ignore[arg-type]
            found.comments += [options[1].decode()] if 1 in options else []
        case _:
            raise AssertionError(f"a block of type {kind}")


def _options(body: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while True:
        code, length = struct.unpack_from("<HH", body, at)
        if code == 0:
            assert (length, at + 4) == (0, len(body))
            return found
        found[code] = body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
