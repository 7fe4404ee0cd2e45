"""Whether a program that was found or built on this machine runs in a guest: a look at its first bytes. Pure."""

from __future__ import annotations

import struct
from pathlib import Path

from patchbay_runner.errors import BinaryError

_HEADER_BYTES = 4096
_LEAST_BYTES = 64
_ELF = b"\x7fELF"
_LITTLE_ENDIAN = 1
_CLASS_64 = 2
# e_machine of the ELF header (System V ABI), by what `uname -m` says.
_MACHINES = {"x86_64": 62, "aarch64": 183}
_MACHINE_NAMES = {3: "32-bit x86", 40: "32-bit ARM", 62: "x86-64", 183: "arm64", 243: "RISC-V"}
_PT_INTERP = 3
_MUSL = b"/ld-musl-"
# Mach-O in both byte orders and universal, and what begins a program of Windows.
_MACOS = (b"\xcf\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xca\xfe\xba\xbe")
_WINDOWS = b"MZ"


def check(name: str, path: Path, machine: str) -> None:
    """Raises BinaryError when the file is a program for another system, or needs a C library that no guest has.

    Scripts, and what nobody knows, are left to the guest. `machine` is the guest's, as `uname -m` says it.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    expected = f"a program for Linux on {_MACHINE_NAMES[_MACHINES[machine]]}, linked statically at best"
    if header.startswith(_MACOS):
        raise BinaryError(f"{name} ({path}) is a program for macOS", expected)
    if header.startswith(_WINDOWS):
        raise BinaryError(f"{name} ({path}) is a program for Windows", expected)
    if not header.startswith(_ELF) or len(header) < _LEAST_BYTES:
        return
    (number,) = struct.unpack_from("<H" if header[5] == _LITTLE_ENDIAN else ">H", header, 18)
    if number != _MACHINES[machine]:
        found = _MACHINE_NAMES.get(number, f"another processor (e_machine {number})")
        raise BinaryError(f"{name} ({path}) is a program for {found}", expected)
    if _MUSL in _interpreter(header):
        raise BinaryError(f"{name} ({path}) is linked to musl at run time, and the machine is a Debian", expected)


def _interpreter(header: bytes) -> bytes:
    """The dynamic loader that a 64-bit program of the guest's byte order names; b"" for none."""
    if header[4] != _CLASS_64:
        return b""
    (start,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    for place in range(start, min(start + size * count, len(header) - size + 1), size):
        kind, _flags, offset, _address, _physical, length = struct.unpack_from("<IIQQQQ", header, place)
        if kind == _PT_INTERP:
            return header[offset : offset + length]
    return b""
