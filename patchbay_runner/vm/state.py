"""What a machine leaves on disk: its directory in the project, what is known of it while it runs, and its lock."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.model.vm import Accelerator
from patchbay_runner.vm.accelerators import PassedOver
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.share import Share

T = TypeVar("T")
Report = Callable[[str], None]
_POLL_S = 0.05


class Running(msgspec.Struct, frozen=True):
    """What is known of a machine that was started. Times are seconds; `started_at` is the wall clock's."""

    qemu: str
    accelerator: Accelerator
    passed_over: tuple[PassedOver, ...]
    ssh_port: int
    user: str
    memory_mb: int
    processors: int
    image: str
    shares: tuple[Share, ...]
    started_at: float
    boot_timeout_s: float
    is_ready: bool = False


class State(msgspec.Struct, frozen=True):
    """The places of a machine's files. Those of `kept` outlive a `down`."""

    directory: Path
    sockets: Path

    @classmethod
    def of(cls, settings: Settings) -> State:
        """The state of the machine that the settings mean."""
        return cls(settings.state, settings.sockets)

    @property
    def disk(self) -> Path:
        """The machine's disk, on top of an image."""
        return self.directory / "disk.qcow2"

    @property
    def origin(self) -> Path:
        """What the disk was made of."""
        return self.directory / "disk.json"

    @property
    def keys(self) -> Path:
        """The key that opens the guest, and the guest's own."""
        return self.directory / "keys"

    @property
    def running(self) -> Path:
        """What is known of the machine while it runs."""
        return self.directory / "machine.json"

    @property
    def qemu_note(self) -> Path:
        """Which process is the machine."""
        return self.directory / "qemu.pid"

    @property
    def log(self) -> Path:
        """What QEMU says."""
        return self.directory / "qemu.log"

    @property
    def console(self) -> Path:
        """What the guest writes to its console."""
        return self.directory / "console.log"

    @property
    def seed(self) -> Path:
        """The volume that the first boot reads."""
        return self.directory / "seed.iso"

    @property
    def qmp(self) -> Path:
        """The socket that controls QEMU."""
        return self.sockets / "qmp.sock"

    @property
    def control(self) -> Path:
        """The socket of the shared connection to the guest."""
        return self.sockets / "ssh.sock"

    @property
    def trial(self) -> Path:
        """The firmware that accelerators are tried with. What tries it is noted beside."""
        return self.directory / "trial.bin"

    def note_of(self, tag: str) -> Path:
        """Which process shares a directory."""
        return self.directory / f"virtiofsd-{tag}.pid"

    def share_socket(self, tag: str) -> Path:
        """Where that process listens."""
        return self.sockets / f"{tag}.sock"

    def make(self) -> None:
        """Makes the directories. Raises HostError for a full disk and for a directory of somebody else."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # It holds a key and a large disk, neither of which belongs into a repository.
            ignored = self.directory.parent / ".gitignore"
            if not ignored.exists():
                ignored.write_text("*\n")
            self.keys.mkdir(mode=0o700, exist_ok=True)
            self.sockets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise HostError(f"cannot write {error.filename or self.directory}: {error.strerror}") from error
        status = self.sockets.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise HostError(f"{self.sockets} is not this user's alone", f"remove {self.sockets}")

    def read(self) -> Running | None:
        """What is known of the machine; None when nothing is, or nothing that this version understands."""
        return read_record(self.running, Running)

    def write(self, running: Running) -> None:
        """Keeps what is known of the machine. Raises HostError when it cannot be written."""
        write_record(self.running, running)

    def remains(self) -> list[Path]:
        """What is there besides what a `down` keeps."""
        kept = {self.disk, self.origin, self.keys}
        found = (
            [path for path in sorted(self.directory.iterdir()) if path not in kept] if self.directory.is_dir() else []
        )
        return [*found, *([self.sockets] if self.sockets.exists() else [])]

    def clean(self, keep: Collection[Path] = ()) -> None:
        """Removes what a machine that has ended leaves, but for `keep`."""
        for path in self.remains():
            if path not in keep:
                remove(path)

    @contextmanager
    def lock(self, report: Report) -> Iterator[int]:
        """Keeps other commands from the machine. A process that gets the descriptor holds the lock as well.

        The lock is on the directory, so that it needs no file.
        """
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _wait_for(descriptor, report)
            yield descriptor
        finally:
            os.close(descriptor)


def write_record(path: Path, record: msgspec.Struct) -> None:
    """Writes a record beside and renames it. Raises HostError."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(record, enc_hook=str)) + b"\n")
        beside.replace(path)
    except OSError as error:
        raise HostError(f"cannot write {path}: {error.strerror}") from error


def read_record(path: Path, kind: type[T]) -> T | None:
    """None when it is not there, or is nothing that this version understands."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind, dec_hook=_to_path)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def remove(path: Path) -> None:
    """Removes a file or a tree, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, without what terminals make of them; "" when there is none."""
    with suppress(FileNotFoundError):
        text = path.read_bytes()[-65_536:].decode(errors="replace")
        return "\n".join(f"  │ {_plain(line)}" for line in text.splitlines()[-lines:] if line.strip())
    return ""


def _plain(line: str) -> str:
    return "".join(character for character in line if character.isprintable() or character == "\t")


def _wait_for(descriptor: int, report: Report) -> None:
    is_told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                report("waiting for another patchbay-vm that is busy with this machine")
                is_told = True
            time.sleep(_POLL_S)
        else:
            return


def _to_path(kind: type, value: object) -> object:
    return Path(str(value)) if kind is Path else value
