"""The images of this user: what was built, what was downloaded, and the packages that builds keep.

::

    built/<name>/             disk.raw, vmlinuz, initrd and image.json: there whole or not at all
    downloads/                a cache as binaries/cache.py has it
    packages/                 Debian's packages and the lists of them
    building-*/               what a build makes; one that no build holds the lock for is a killed one's
    lock                      held by a build, and by who removes
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import HostError
from patchbay_runner.vm.image.records import FORMAT, Built, Image
from patchbay_runner.vm.settings import Architecture

USER = "dev"
_RECORD = "image.json"
_BUILDING = "building-"
_POLL_S = 0.1
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Nothing attacks the guest, and the emulation of mitigations is slow.
_APPEND = "quiet panic=-1 mitigations=off"


def images_root(environment: Mapping[str, str]) -> Path:
    """Where images are kept."""
    data = environment.get("XDG_DATA_HOME", "")
    # The specification has relative paths ignored.
    base = Path(data) if data.startswith("/") else Path.home() / ".local/share"
    return base / "patchbay" / "qemu-images"


class Store:
    """The images below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def downloads(self) -> Path:
        return self.root / "downloads"

    @property
    def packages(self) -> Path:
        return self.root / "packages"

    def built(self) -> list[tuple[Built, Path]]:
        """The records and directories of built images, the newest last."""
        found = []
        for directory in (self.root / "built").glob("*/"):
            with suppress(OSError, msgspec.DecodeError):  # half of one that is being removed, or of a newer version
                found.append((msgspec.json.decode((directory / _RECORD).read_bytes(), type=Built), directory))
        return sorted(found, key=lambda pair: pair[0].built_at)

    def newest(self, architecture: Architecture) -> Image | None:
        """The image that was built last, of those that this version understands."""
        fitting = [pair for pair in self.built() if pair[0].format == FORMAT and pair[0].architecture == architecture]
        return image_of(*fitting[-1]) if fitting else None

    def keep(self, made: Path, record: Built) -> Path:
        """Takes over a directory that a build has filled. Another one of its name goes, if it is not in the way."""
        (made / _RECORD).write_bytes(msgspec.json.encode(record))
        _flush(made)
        place = self.root / "built" / record.name
        place.parent.mkdir(parents=True, exist_ok=True)
        made.replace(place)
        return place

    def remove(self, directory: Path) -> None:
        """Takes a built image away: first out of sight, so that half of it is never found."""
        gone = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self.root))
        directory.replace(gone / directory.name)
        shutil.rmtree(gone)

    @contextmanager
    def lock(self, task: Task) -> Iterator[None]:
        """Holds the images against other builds. Raises HostError when they cannot be kept where they should be."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.root / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HostError(f"cannot keep images in {self.root}: {error.strerror}", "set XDG_DATA_HOME") from error
        try:
            if not _try_lock(descriptor):
                task.note("another build is at work; waiting for its end")
                while not _try_lock(descriptor):
                    task.pause(_POLL_S)
            self._sweep()
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Says of a disk that is full, inside the block, what it is full of."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            remedy = "make room, by patchbay-vm image remove for one, or set XDG_DATA_HOME"
            raise HostError(f"cannot write to {self.root}: {error.strerror}", remedy) from error

    @contextmanager
    def building(self) -> Iterator[Path]:
        """A directory for a build, which goes with the block. The lock is held."""
        place = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=self.root))
        try:
            yield place
        finally:
            shutil.rmtree(place)

    def _sweep(self) -> None:
        for left in self.root.glob(f"{_BUILDING}*/"):
            shutil.rmtree(left)


def image_of(record: Built, directory: Path) -> Image:
    """A built image, as machines start from it."""
    return Image(
        name=record.name,
        disk=directory / "disk.raw",
        user=USER,
        kernel=directory / "vmlinuz",
        initrd=directory / "initrd",
        append=_APPEND,
    )


def name_of(architecture: Architecture, suite: str) -> str:
    """A name that no image has: those that machines are laid over stay when a newer one is built."""
    return f"debian-{suite}-{architecture}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"


def _flush(directory: Path) -> None:
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _try_lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
