"""The record of a lab that no sim runs in: `events.jsonl` and `state.json`, as the page and other readers know them."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from patchbay_runner.results import lock
from patchbay_runner.results.documents import document_time
from patchbay_runner.results.files import Owner, append, make_directories, open_append, point_symlink, write_atomically
from patchbay_runner.results.messages import event_time
from patchbay_runner.results.names import file_name
from patchbay_runner.results.node_logs import remove_logs
from patchbay_runner.results.packetfiles import remove_captures

Outcome = Literal["running", "stopped", "success", "failed"]


class LabRecord:
    """Writes a record, from where the lab runs: whole lines as things happen, and the state when it is given.

    It takes the place of an earlier one, and holds the directory's lock as long as its process lives. Raises HostError,
    and BlockingIOError when another writes there.
    """

    def __init__(self, directory: Path, label: str, owner: Owner | None = None) -> None:
        make_directories(directory, owner)
        self._lock = lock.hold(directory, owner)
        self._directory = directory
        self._label = label
        self._owner = owner
        self._path = directory / "events.jsonl"
        for name in ("events.jsonl", "state.json"):
            (directory / name).unlink(missing_ok=True)
        remove_logs(directory)
        remove_captures(directory)
        self._events = open_append(self._path, owner)
        self._opid = 0
        self._created_at = document_time(datetime.now(UTC))

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Adds an event."""
        head = {"opid": self._opid, "timestamp": event_time(), "kind": kind}
        append(self._events, msgspec.json.encode({**head, **fields, **head}) + b"\n", self._path)
        self._opid += 1

    def state(self, network: dict[str, Any]) -> None:
        """The network as it is now."""
        head = {
            "schema": 1,
            "label": self._label,
            "status": "running",
            "opid": self._opid - 1,
            "created_at": self._created_at,
            "updated_at": document_time(datetime.now(UTC)),
        }
        write_atomically(self._directory / "state.json", _encoded({**head, **network}), self._owner)

    def close(self) -> None:
        os.close(self._events)
        os.close(self._lock)


def conclude(directory: Path, outcome: Outcome, owner: Owner | None = None) -> None:
    """Says how it ended, once nobody writes the record any more. Raises HostError."""
    path = directory / "state.json"
    if path.exists():
        state = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        state |= {"status": outcome, "updated_at": document_time(datetime.now(UTC))}
        write_atomically(path, _encoded(state), owner)


def new_directory(base: Path, label: str, owner: Owner | None = None) -> Path:
    """A directory `<UTC time>-<label>` below `base` that nobody else has; `latest` leads to it. Raises HostError."""
    make_directories(base, owner)
    stem = f"{datetime.now(UTC):%y%m%d-%H%M%S}-{file_name(label)}"
    number = 1
    while True:
        directory = base / (stem if number == 1 else f"{stem}-{number}")
        try:
            directory.mkdir()
        except FileExistsError:
            number += 1
            continue
        if owner:
            os.chown(directory, owner.uid, owner.gid)
        point_symlink(base / "latest", directory.name, owner)
        return directory


def discard(directory: Path) -> None:
    """Takes a record away, and `latest` if it leads there."""
    latest = directory.with_name("latest")
    if latest.is_symlink() and latest.readlink() == Path(directory.name):
        latest.unlink(missing_ok=True)
    shutil.rmtree(directory)


def _encoded(state: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n"
