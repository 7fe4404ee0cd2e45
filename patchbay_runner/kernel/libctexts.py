"""Where texts of the C library stand in this process's memory: a path that the library opens itself is told by that."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

# glibc's name service had a library of its own until 2.34.
_NSS_FILES = "libnss_files.so.2"
_LIBRARIES = ("libc.so", "libc-", "ld-musl", "libnss_files")


def addresses_of(texts: Sequence[str]) -> dict[int, str]:
    """The text at each address; whoever starts reading there finds it, whether or not it is the end of a longer one."""
    with suppress(OSError):  # there is none
        ctypes.CDLL(_NSS_FILES)
    found = {}
    for start, end in _segments():
        memory = ctypes.string_at(start, end - start)
        for text in texts:
            wanted = text.encode() + b"\0"
            at = memory.find(wanted)
            while at >= 0:
                found[start + at] = text
                at = memory.find(wanted, at + 1)
    return found


def _segments() -> Iterator[tuple[int, int]]:
    """What is mapped of the library's files and can be read."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, permissions, _offset, _device, _inode, *path = line.split(maxsplit=5)
        if permissions.startswith("r") and path and Path(path[0]).name.startswith(_LIBRARIES):
            start, _, end = place.partition("-")
            yield int(start, 16), int(end, 16)
