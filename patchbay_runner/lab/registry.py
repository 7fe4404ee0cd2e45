"""The labs that run on this host, so that other shells of the same user find them.

One directory for each user holds, for each lab, a record and the Unix socket on which its agent listens. A lab is alive
as long as its socket takes connections, so what a killed process leaves behind is known for what it is. Identifiers
never recur, so clearing that away touches nothing that lives.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec

from patchbay_runner.errors import HostError

_USERS_RUN = Path("/run/user")
_SHARED = Path("/tmp")  # every shell of a user agrees on it, whatever TMPDIR says
_BACKLOG = 1024
_LONGEST_NAME = 32
# A socket without a record is one that is being registered, or what is left of that.
_REGISTERING_S = 60.0
_TRIES = 100

Kind = Literal["inspect", "run"]


class LabRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A lab, for those who look for one.

    `kind` "inspect" waits for people, "run" runs a sim; a run that `is_paused` waits for people too. `pid` is the
    patchbay process, `since` in seconds of the epoch.
    """

    id: str = ""
    kind: Kind
    name: str
    source: str
    nodes: tuple[str, ...]
    pid: int
    since: float
    is_paused: bool = False

    @property
    def is_waiting(self) -> bool:
        """Whether it is there for people to enter."""
        return self.kind == "inspect" or self.is_paused


class Registration:
    """A lab that others can find until this is closed. `listener` is the agent's: give it away, then drop it."""

    def __init__(self, directory: Path, record: LabRecord, listener: socket.socket) -> None:
        self.record = record
        self.listener = listener
        self._directory = directory
        self._write()

    def drop_listener(self) -> None:
        """Lets go of our end: from here on the lab is alive as long as its agent is."""
        self.listener.close()

    def set_paused(self, is_paused: bool) -> None:
        """Notes whether the lab waits for people, as far as the list can be written."""
        self.record = msgspec.structs.replace(self.record, is_paused=is_paused)
        with suppress(OSError):
            self._write()

    def close(self) -> None:
        """Nobody finds it any more."""
        self.listener.close()
        _forget(self._directory, self.record.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self) -> None:
        path = self._directory / f"{self.record.id}.json"
        beside = path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(self.record))
        beside.replace(path)


def directory_of_labs(environment: Mapping[str, str], uid: int) -> Path:
    """Where the labs of a user are listed: in the directory that is theirs until they log out, else below /tmp."""
    for parent in (environment.get("XDG_RUNTIME_DIR", ""), _USERS_RUN / str(uid)):
        if os.path.isabs(parent) and is_directory_of(Path(parent), uid):  # noqa: PTH117 - it may be an empty text
            return Path(parent) / "patchbay"
    return _SHARED / f"patchbay-{uid}"


def register(directory: Path, record: LabRecord) -> Registration:
    """Makes a lab findable, under a new identifier. Raises HostError when the directory cannot be used."""
    _make_private(directory)
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", record.name).strip("-.")[:_LONGEST_NAME] or "lab"
    try:
        for _ in range(_TRIES):
            identifier = f"{stem}-{secrets.token_hex(2)}"
            listener = _listen(directory, identifier)
            if listener is not None:
                return Registration(directory, msgspec.structs.replace(record, id=identifier), listener)
    except OSError as error:
        raise HostError(f"cannot list a lab in {directory}: {error.strerror}") from error
    raise HostError(f"{directory} is full of labs")


def running_labs(directory: Path) -> list[LabRecord]:
    """The labs that are alive, oldest first. Clears away what is left of others.

    Raises HostError when the directory belongs to somebody else.
    """
    if not _is_there(directory):
        return []
    found = []
    for path in directory.glob("*.json"):
        if not _is_alive(directory, path.stem):
            _forget(directory, path.stem)
            continue
        with suppress(FileNotFoundError, msgspec.MsgspecError):  # it has just ended, or is another version's
            found.append(msgspec.json.decode(path.read_bytes(), type=LabRecord))
    _sweep(directory)
    return sorted(found, key=lambda record: record.since)


def connect(directory: Path, identifier: str) -> socket.socket | None:
    """A connection to a lab's agent; None when the lab is over."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short_path(directory) as short:
            connection.connect(f"{short}/{identifier}.sock")
    except (ConnectionRefusedError, FileNotFoundError):
        connection.close()
        return None
    return connection


def _is_alive(directory: Path, identifier: str) -> bool:
    connection = connect(directory, identifier)
    if connection is None:
        return False
    connection.close()
    return True


def _listen(directory: Path, identifier: str) -> socket.socket | None:
    """A socket that listens under the identifier's name; None when the name is taken."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.fchmod(listener.fileno(), 0o600)
    try:
        with _short_path(directory) as short:
            listener.bind(f"{short}/{identifier}.sock")
        listener.listen(_BACKLOG)
    except FileExistsError:
        listener.close()
        return None
    except OSError as error:
        listener.close()
        if "in use" in str(error):
            return None
        raise
    return listener


@contextmanager
def _short_path(directory: Path) -> Iterator[str]:
    """Another path of a directory: those of sockets have 107 bytes."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _forget(directory: Path, identifier: str) -> None:
    # What cannot be removed any more misleads nobody: its socket takes no connections.
    with suppress(OSError):
        for ending in ("sock", "json", "new"):
            (directory / f"{identifier}.{ending}").unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    for path in directory.glob("*.sock"):
        with suppress(OSError):  # it has just gone, or cannot be removed
            is_old = time.time() - path.stat().st_mtime > _REGISTERING_S
            if is_old and not path.with_suffix(".json").exists() and not _is_alive(directory, path.stem):
                path.unlink()


def _make_private(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=False, exist_ok=True)
        if _is_there(directory) and stat.S_IMODE(directory.stat().st_mode) & 0o077:
            directory.chmod(0o700)
    except OSError as error:
        raise HostError(f"cannot make {directory}: {error.strerror}") from error


def _is_there(directory: Path) -> bool:
    """Whether the directory is there. Raises HostError when it is not ours: somebody else would give the answers."""
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise HostError(f"{directory} belongs to another user: a network is entered by who started it")
    return True


def is_directory_of(path: Path, uid: int) -> bool:
    """Whether `path` is a directory that belongs to the user."""
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid
