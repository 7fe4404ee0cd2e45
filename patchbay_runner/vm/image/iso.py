"""Small volumes as CDs have them (ISO 9660, ECMA-119), of a few files in one directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

_SECTOR = 2048
# The first sixteen sectors are the system's; then come the two descriptors, the two path tables and the directory.
_PATHS_LITTLE, _PATHS_BIG, _ROOT, _FIRST_FILE = 18, 19, 20, 21
_IS_DIRECTORY = 2
# No dates: the same files make the same volume.
_NO_DATE = b"0" * 16 + b"\0"


def volume(label: str, files: Mapping[str, bytes]) -> bytes:
    """The volume. Names are written in capitals, and Linux shows them in small letters."""
    records = [_record(b"\0", _ROOT, _SECTOR, _IS_DIRECTORY), _record(b"\1", _ROOT, _SECTOR, _IS_DIRECTORY)]
    body, at = b"", _FIRST_FILE
    for name, content in sorted(files.items()):
        records.append(_record(f"{name.upper()};1".encode("ascii"), at, len(content)))
        padded = _padded(content)
        body += padded
        at += len(padded) // _SECTOR
    directory = b"".join(records)
    if len(directory) > _SECTOR:
        raise ValueError("a volume of so many files is not made here")
    little, big = _path_table("little"), _path_table("big")
    head = bytes(16 * _SECTOR) + _descriptor(label, at, len(little)) + _padded(b"\xffCD001\x01")
    return head + _padded(little) + _padded(big) + _padded(directory) + body


def _path_table(order: Literal["little", "big"]) -> bytes:
    """Of the root alone (section 9.4)."""
    return bytes((1, 0)) + _ROOT.to_bytes(4, order) + (1).to_bytes(2, order) + b"\0\0"


def _descriptor(label: str, sectors: int, paths_size: int) -> bytes:
    """The primary volume descriptor (ECMA-119, section 8.4)."""
    parts = [
        b"\x01CD001\x01\0",
        b" " * 32,
        label.encode("ascii").ljust(32),
        bytes(8),
        _both(sectors, 4),
        bytes(32),
        _both(1, 2),
        _both(1, 2),
        _both(_SECTOR, 2),
        _both(paths_size, 4),
        _PATHS_LITTLE.to_bytes(4, "little"),
        bytes(4),
        _PATHS_BIG.to_bytes(4, "big"),
        bytes(4),
        _record(b"\0", _ROOT, _SECTOR, _IS_DIRECTORY),
        b" " * (4 * 128 + 3 * 37),
        *(_NO_DATE,) * 4,
        b"\x01\0",
    ]
    return _padded(b"".join(parts))


def _record(name: bytes, sector: int, size: int, flags: int = 0) -> bytes:
    """A directory record (section 9.1)."""
    length = (33 + len(name) + 1) & ~1
    fields = bytes((length, 0)) + _both(sector, 4) + _both(size, 4) + bytes(7) + bytes((flags, 0, 0)) + _both(1, 2)
    return (fields + bytes((len(name),)) + name).ljust(length, b"\0")


def _both(number: int, size: int) -> bytes:
    """A number in both byte orders (section 7.3.3)."""
    return number.to_bytes(size, "little") + number.to_bytes(size, "big")


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _SECTOR)
