"""Programs of other systems are refused before they are tried in a guest."""

from __future__ import annotations

import platform
import struct
import sys
from pathlib import Path

import pytest

from patchbay_runner.errors import BinaryError
from patchbay_runner.vm.executables import check

OURS = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())


def elf(machine: int, interpreter: bytes = b"") -> bytes:
    """A 64-bit header with one program header, which names a dynamic loader."""
    kind = 3 if interpreter else 1
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<IIQQQQQQ", kind, 4, 120, 0, 0, len(interpreter), 0, 1) + interpreter


@pytest.mark.parametrize(
    ("content", "machine", "reason"),
    [
        (b"\xcf\xfa\xed\xfe" + bytes(60), "x86_64", "is a program for macOS"),
        (b"\xca\xfe\xba\xbe" + bytes(60), "x86_64", "is a program for macOS"),
        (b"MZ" + bytes(60), "x86_64", "is a program for Windows"),
        (elf(183), "x86_64", "is a program for arm64"),
        (elf(62), "aarch64", "is a program for x86-64"),
        (elf(999), "x86_64", r"another processor \(e_machine 999\)"),
        (elf(62, b"/lib/ld-musl-x86_64.so.1\0"), "x86_64", "linked to musl at run time"),
    ],
)
def test_what_no_guest_runs(content: bytes, machine: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    with pytest.raises(BinaryError, match=reason):
        check("server", path, machine)


@pytest.mark.parametrize(
    "content", [elf(62), elf(62, b"/lib64/ld-linux-x86-64.so.2\0"), b"#!/bin/sh\n", b"", b"\x7fELF"]
)
def test_what_a_guest_may_run(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(content)
    check("server", path, "x86_64")


@pytest.mark.skipif(sys.platform != "linux", reason="programs of this machine")
def test_programs_of_this_machine(tmp_path: Path) -> None:
    check("python", Path(sys.executable).resolve(), OURS)
