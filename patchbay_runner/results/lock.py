"""The lock of a run directory: a run that says "running" and whose lock is free was interrupted."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from patchbay_runner.results.files import Owner, open_append

LOCK_NAME = ".lock"


def hold(directory: Path, owner: Owner | None = None) -> int:
    """Takes the lock for as long as the returned descriptor is open. Raises BlockingIOError when another holds it."""
    descriptor = open_append(directory / LOCK_NAME, owner)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_held(directory: Path) -> bool:
    """Whether the run that writes `directory` is alive."""
    try:
        descriptor = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
