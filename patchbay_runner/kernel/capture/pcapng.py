"""Blocks of a pcapng file (draft-ietf-opsawg-pcapng), as bytes. Pure; numbers are little-endian on every machine.

A file holds one section of one interface. Times are nanoseconds since 1970, UTC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

_SECTION, _INTERFACE, _STATISTICS, _PACKET = 0x0A0D0D0A, 1, 5, 6
_BYTE_ORDER = 0x1A2B3C4D
_LENGTH_UNKNOWN = -1

# LINKTYPE_ values (tcpdump.org/linktypes.html).
ETHERNET, RAW_IP, LINUX_COOKED = 1, 101, 113
# The kernel's ARPHRD_ values: ETHER, LOOPBACK; RAWIP, TUNNEL, TUNNEL6, SIT, and NONE (tun, WireGuard).
_ETHERNET_LIKE = frozenset({1, 772})
_BARE_IP = frozenset({519, 768, 769, 776, 0xFFFE})

_COMMENT = 1
_SECTION_SYSTEM, _SECTION_APPLICATION = 3, 4
_INTERFACE_NAME, _INTERFACE_DESCRIPTION, _INTERFACE_RESOLUTION, _INTERFACE_SYSTEM = 2, 3, 9, 12
_NANOSECONDS = b"\x09"  # 10 to the power of minus 9
_STATISTICS_RECEIVED, _STATISTICS_DROPPED = 4, 5
_PACKET_FLAGS = 2

_BLOCK = struct.Struct("<II")
_OPTION = struct.Struct("<HH")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_PACKET_HEADER = struct.Struct("<IIIIIII")
_PACKET_TAIL = struct.Struct("<HHIII")  # the option of the flags, the end of options, the block's length
_PACKET_OVERHEAD = _PACKET_HEADER.size + _PACKET_TAIL.size
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def section(application: str, system: str) -> bytes:
    """The head of a file: who wrote it, on which system."""
    body = struct.pack("<IHHq", _BYTE_ORDER, 1, 0, _LENGTH_UNKNOWN)
    return _block(_SECTION, body, [(_SECTION_SYSTEM, system.encode()), (_SECTION_APPLICATION, application.encode())])


def interface(link_type: int, snap_length: int, name: str, description: str, system: str) -> bytes:
    """The interface, of which packets and statistics know by its number, 0."""
    return _block(
        _INTERFACE,
        struct.pack("<HHI", link_type, 0, snap_length),
        [
            (_INTERFACE_NAME, name.encode()),
            (_INTERFACE_DESCRIPTION, description.encode()),
            (_INTERFACE_RESOLUTION, _NANOSECONDS),
            (_INTERFACE_SYSTEM, system.encode()),
        ],
    )


def packet(time_ns: int, captured: int, length: int, flags: int) -> tuple[bytes, bytes]:
    """What stands before and behind the `captured` bytes of a packet that was `length` long; `flags` are epb_flags."""
    padding = _PADDING[captured & 3]
    total = _PACKET_OVERHEAD + captured + len(padding)
    return (
        _PACKET_HEADER.pack(_PACKET, total, 0, time_ns >> 32, time_ns & 0xFFFFFFFF, captured, length),
        padding + _PACKET_TAIL.pack(_PACKET_FLAGS, 4, flags, 0, total),
    )


def statistics(time_ns: int, received: int, dropped: int, comment: str = "") -> bytes:
    """How many packets there were from the beginning until `time_ns`, and how many the kernel had no room for."""
    options = [(_STATISTICS_RECEIVED, _U64.pack(received)), (_STATISTICS_DROPPED, _U64.pack(dropped))]
    if comment:
        options.insert(0, (_COMMENT, comment.encode()))
    return _block(_STATISTICS, struct.pack("<III", 0, time_ns >> 32, time_ns & 0xFFFFFFFF), options)


def link_type(hardware_type: int) -> int:
    """The LINKTYPE_ in which the packets of an interface with this ARPHRD_ value are written."""
    if hardware_type in _ETHERNET_LIKE:
        return ETHERNET
    return RAW_IP if hardware_type in _BARE_IP else LINUX_COOKED


def _block(kind: int, body: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    encoded = b"".join(
        [_OPTION.pack(code, len(value)) + value + _PADDING[len(value) & 3] for code, value in (*options, (0, b""))]
    )
    total = 12 + len(body) + len(encoded)
    return _BLOCK.pack(kind, total) + body + encoded + _U32.pack(total)
