"""The user's cache of downloads, repositories and programs.

::

    content/<sha256>          what was downloaded, named by what it is
    downloads/<key>.json      which content an address had, and the validators to ask for it again
    downloads/<key>.part      a download that was interrupted; beside it the validator to go on with
    repositories/<key>/       a Git repository: its clone and its Cargo target directory
    programs/<key>/<name>     programs that are ready to run; the key is a hash of all that they are made from
    logs/<key>.log            what Cargo printed
    locks/<key>               held by whoever writes the thing of that key
    in-use                    its lock is shared by all runs, from their first look into the cache to their end

Everything appears under its name whole or not at all, so any number of runs may share the cache, and any part of it may
be deleted by who has `in-use` alone. Modification times of things are those of their last use.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from patchbay_runner.binaries.progress import Task

_CHUNK = 1 << 20
_LOCK_POLL_S = 0.05
_KEY_LENGTH = 32


def key_of(*parts: str) -> str:
    """A file name for what the parts say together."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_KEY_LENGTH]


class Cache:
    """Below `root`. Directories are made when they are needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._guard = threading.Lock()
        self._in_use: int | None = None

    def _use(self) -> None:
        """Keeps everything where it is until this process ends: what it is given now it starts later."""
        with self._guard:
            if self._in_use is None:
                self._in_use = _open_in_use(self.root)
                fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def directory(self, *names: str) -> Path:
        """A directory of the cache; its user's alone."""
        self._use()
        path = self.root.joinpath(*names)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def content(self, sha256: str) -> Path | None:
        """The download with this hash, when it is there."""
        self._use()
        return _used(self.root / "content" / sha256)

    def keep_content(self, path: Path, sha256: str) -> Path:
        """Takes a downloaded file over."""
        kept = self.directory("content") / sha256
        path.replace(kept)
        return kept

    def program(self, key: str) -> Path | None:
        """The program of this key, when it is there."""
        self._use()
        directory = _used(self.root / "programs" / key)
        return next(iter(sorted(directory.iterdir())), None) if directory else None

    def keep_program(self, key: str, name: str, source: IO[bytes]) -> Path:
        """Stores what `source` holds as the executable file `name`."""
        descriptor, written = tempfile.mkstemp(dir=self.directory("new"))
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := source.read(_CHUNK):
                    file.write(chunk)
                os.fchmod(file.fileno(), 0o755)
            kept = self.directory("programs", key) / name
            Path(written).replace(kept)
        finally:
            Path(written).unlink(missing_ok=True)
        return kept

    @contextmanager
    def lock(self, key: str, task: Task, wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Holds the lock of `key` against other threads and other runs; `wait` is called when somebody else has it."""
        path = self.directory("locks") / key
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(descriptor):
                wait()
                while not _try_lock(descriptor):
                    task.pause(_LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def alone(root: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Holds the cache, which is there, while no run uses it; `wait` is called when one does. Raises OSError."""
    descriptor = _open_in_use(root)
    try:
        if not _try_lock(descriptor):
            wait()
            while not _try_lock(descriptor):
                time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside `path` and renames. The caller holds the lock."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


def sha256_of(path: Path) -> str:
    """The hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_in_use(root: Path) -> int:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(root / "in-use", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _used(path: Path) -> Path | None:
    """`path`, marked as used now, when it is there."""
    if not path.exists():
        return None
    os.utime(path)
    return path


def _try_lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
