"""Files that are no disk, or half of one."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest

from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.checks import check_disk, check_sum

_CLUSTER = 65536


def qcow2(clusters: int = 2, *, version: int = 3, encryption: int = 0, compressed: bool = False) -> bytes:
    """An image with its header, L1 table, L2 table and data in a cluster each."""
    header = struct.pack(">4sIQIIQIIQ", b"QFI\xfb", version, 0, 0, 16, 1 << 30, encryption, 2, _CLUSTER)
    first = 3 * _CLUSTER
    entries = [(1 << 63) | (first + place * _CLUSTER) for place in range(clusters)]
    if compressed:
        entries = [(1 << 62) | (first + place * 512) for place in range(clusters)]
    parts = [header, struct.pack(">2Q", (1 << 63) | 2 * _CLUSTER, 0), struct.pack(f">{clusters}Q", *entries)]
    return b"".join(part.ljust(_CLUSTER, b"\0") for part in parts) + b"x" * _CLUSTER * clusters


RAW = bytes(510) + b"\x55\xaa" + bytes(4096)
EXT4 = bytes(1080) + b"\x53\xef" + bytes(4096)


@pytest.mark.parametrize("content", [qcow2(), qcow2(0), qcow2(version=2), qcow2(compressed=True), RAW, EXT4])
def test_disks_are_disks(tmp_path: Path, content: bytes) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    check_disk(disk, "mine")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"<html>Not found</html>" * 300, "is no disk image: there is neither a partition table"),
        (b"\xfd7zXZ\0" + bytes(4096), "it is packed by xz"),
        (b"KDMV" + bytes(4096), "it is a VMDK image"),
        (qcow2()[:40], "ends within its header"),
        (qcow2()[: _CLUSTER + 8], "is not whole"),
        (qcow2()[: 2 * _CLUSTER + 16], "is not whole"),
        (qcow2()[: 4 * _CLUSTER], f"is not whole: it has {4 * _CLUSTER} bytes, and data up to"),
        (qcow2(compressed=True)[: 3 * _CLUSTER], "is not whole"),
        (qcow2(version=1), "of a kind that is not known"),
        (qcow2(encryption=1), "is encrypted"),
    ],
)
def test_what_is_no_disk_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(content)
    with pytest.raises(HostError, match=f"mine .*{problem}"):
        check_disk(disk, "mine")


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot read the image mine: No such file"):
        check_disk(tmp_path / "none", "mine")
    with pytest.raises(HostError, match="cannot read the image mine: Is a directory"):
        check_disk(tmp_path, "mine")


def test_a_hash_is_compared_in_either_case(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(RAW)
    check_sum(disk, "mine", "sha512", hashlib.sha512(RAW).hexdigest().upper())
    with pytest.raises(HostError, match="mine is not the file that was published: its sha256 is"):
        check_sum(disk, "mine", "sha256", "0" * 64)
