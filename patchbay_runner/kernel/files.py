"""Files as programs leave them."""

from __future__ import annotations

import os

FileVersion = tuple[int, int, int]


def file_version(path: str) -> FileVersion | None:
    """Device, inode and time of change of a file: another for one that was made or written anew. None without it."""
    try:
        found = os.stat(path)  # noqa: PTH116 - in a node's mounts, where nothing but the system call is wanted
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
