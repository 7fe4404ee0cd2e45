"""How files and directories of a run directory come to be: owned by the calling user, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from patchbay_runner.errors import HostError

_CREATE = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Owner:
    """Who results belong to."""

    uid: int
    gid: int


def calling_user(environment: Mapping[str, str], euid: int) -> Owner | None:
    """The user behind sudo; None when files belong to whoever runs."""
    uid, gid = environment.get("SUDO_UID", ""), environment.get("SUDO_GID", "")
    if euid != 0 or not uid.isdecimal() or not gid.isdecimal():
        return None
    return Owner(int(uid), int(gid))


@contextlib.contextmanager
def _refusals_of(path: Path) -> Iterator[None]:
    """A full disk or a refused directory is the host's fault, not ours: say which file."""
    try:
        yield
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror or error}") from error


def make_directories(path: Path, owner: Owner | None = None) -> None:
    """Makes `path` and its missing parents."""
    missing = [path, *path.parents]
    with _refusals_of(path):
        for directory in reversed([each for each in missing if not each.exists()]):
            directory.mkdir(exist_ok=True)
            if owner:
                os.chown(directory, owner.uid, owner.gid, follow_symlinks=False)


def write_atomically(path: Path, content: bytes, owner: Owner | None = None, mode: int = 0o644) -> None:
    """Writes beside `path` and renames, so that a reader sees the old or the new content and never half of it.

    There is one writer of a file, so the name beside it needs nothing random, and a killed run leaves at most one.
    """
    beside = path.with_name(f".{path.name}.new")
    with _refusals_of(path):
        descriptor = os.open(beside, _CREATE | os.O_TRUNC, mode)
        try:
            _write_all(descriptor, content)
            _give(descriptor, owner)
        finally:
            os.close(descriptor)
        beside.rename(path)


def open_append(path: Path, owner: Owner | None = None) -> int:
    """A descriptor that appends to `path`; the caller closes it."""
    with _refusals_of(path):
        descriptor = os.open(path, _CREATE | os.O_APPEND, 0o644)
        _give(descriptor, owner)
    return descriptor


def append(descriptor: int, lines: bytes, path: Path) -> None:
    """Appends whole lines in one write, which a reader sees in order."""
    with _refusals_of(path):
        _write_all(descriptor, lines)


def point_symlink(link: Path, target: str, owner: Owner | None = None) -> None:
    """Makes or moves the symbolic link atomically."""
    beside = link.with_name(f".{link.name}.{os.getpid()}.{threading.get_ident()}")
    with _refusals_of(link):
        beside.unlink(missing_ok=True)
        beside.symlink_to(target)
        if owner:
            os.chown(beside, owner.uid, owner.gid, follow_symlinks=False)
        beside.replace(link)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _give(descriptor: int, owner: Owner | None) -> None:
    if owner:
        os.fchown(descriptor, owner.uid, owner.gid)
