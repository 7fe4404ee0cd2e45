"""The lock of a run directory: a run that says "running" and whose lock is free was interrupted."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from patchbay_runner.results.files import Owner, open_append

LOCK_NAME = ".lock"
# Somebody else may have put anything there.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def hold(directory: Path, owner: Owner | None = None) -> int:
    """Takes the lock for as long as the returned descriptor is open. Raises BlockingIOError when another holds it."""
    descriptor = open_append(directory / LOCK_NAME, owner)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_held(directory: Path | str, parent: int | None = None) -> bool:
    """Whether the run that writes `directory`, as seen from the open directory `parent`, is alive."""
    try:
        descriptor = os.open(Path(directory) / LOCK_NAME, _READ, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.EACCES):
            return False  # nobody who runs makes a link of it, or keeps its own user from it
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
