"""Whether a file can be a machine's disk: said before QEMU says it less clearly, or a guest does not start."""

from __future__ import annotations

import hashlib
import struct
from array import array
from pathlib import Path
from typing import BinaryIO

from patchbay_runner.errors import HostError

_QCOW2 = b"QFI\xfb"
# docs/interop/qcow2.txt of QEMU: version, backing file, cluster bits, size, encryption, L1 table
_HEADER = struct.Struct(">4sIQIIQIIQ")
_OFFSETS = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_BOOT_MARK = b"\x55\xaa"
_EXT_MARK = b"\x53\xef"
_OTHERS = {
    b"KDMV": "a VMDK image",
    b"conectix": "a VHD image",
    b"vhdxfile": "a VHDX image",
    b"\xfd7zXZ": "packed by xz",
    b"\x1f\x8b": "packed by gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"PK\x03\x04": "a ZIP archive",
}


def check_disk(path: Path, name: str) -> None:
    """Raises HostError for what is no disk image, or only the beginning of one; `name` is what the user calls it."""
    try:
        with path.open("rb") as file:
            problem = _problem(file, path.stat().st_size)
    except OSError as error:
        raise HostError(f"cannot read the image {name}: {error.strerror}") from error
    if problem:
        raise HostError(f"{name} {problem}", "an image in the format qcow2 or raw, with a Linux system on it")


def check_sum(path: Path, name: str, algorithm: str, expected: str) -> None:
    """Raises HostError when the file is not what its publisher says."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected.lower():
        raise HostError(f"{name} is not the file that was published: its {algorithm} is {found}, not {expected}")


def _problem(file: BinaryIO, size: int) -> str:
    head = file.read(4096)
    if head.startswith(_QCOW2):
        return _qcow2_problem(file, head, size)
    if not head.strip(b"\0") and not size > len(head):
        return "is empty"
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            return f"is no disk image that machines start from: it is {what}"
    if head[510:512] == _BOOT_MARK or head[1080:1082] == _EXT_MARK:
        return ""
    return "is no disk image: there is neither a partition table nor a file system at its beginning"


def _qcow2_problem(file: BinaryIO, head: bytes, size: int) -> str:
    if len(head) < _HEADER.size:
        return "ends within its header"
    _, version, _, _, cluster_bits, _, encryption, l1_size, l1_offset = _HEADER.unpack_from(head)
    if version not in (2, 3) or not 9 <= cluster_bits <= 21:
        return "has a header of a kind that is not known"
    if encryption:
        return "is encrypted"
    end = _data_end(file, 1 << cluster_bits, l1_offset, l1_size, size)
    return f"is not whole: it has {size} bytes, and data up to {end}" if end > size else ""


def _data_end(file: BinaryIO, cluster: int, l1_offset: int, l1_size: int, size: int) -> int:
    """Where the last data of a qcow2 file begin, or end where their size is known."""
    end = l1_offset + 8 * l1_size
    if end > size:
        return end
    for table in _table(file, l1_offset, l1_size):
        at = table & _OFFSETS
        if not at:
            continue
        if at + cluster > size:
            return at + cluster
        for entry in _table(file, at, cluster // 8):
            if entry & _COMPRESSED:
                # How much it takes is in bits below, in sectors that the file need not have to the last.
                offset_bits = 62 - (cluster.bit_length() - 1 - 8)
                end = max(end, (entry & ((1 << offset_bits) - 1)) + 1)
            elif entry & _OFFSETS:
                end = max(end, (entry & _OFFSETS) + 1)
    return end


def _table(file: BinaryIO, offset: int, length: int) -> array[int]:
    file.seek(offset)
    table = array("Q", file.read(8 * length))
    table.byteswap()
    return table
