"""The files of packet captures below a sim's directory: `captures/<node>.<interface>.pcapng`."""

from __future__ import annotations

from pathlib import Path

from patchbay_runner.errors import HostError
from patchbay_runner.model.capture import PacketCapture
from patchbay_runner.results.files import Owner, make_directories, open_append
from patchbay_runner.results.names import UniqueNames, file_name

DIRECTORY = "captures"


class PacketFiles:
    """Implements `kernel.capture.Keeper`."""

    def __init__(self, directory: Path, options: PacketCapture, owner: Owner | None = None) -> None:
        self.options = options
        self._directory = directory / DIRECTORY
        self._owner = owner
        self._names = UniqueNames()
        self._stems: dict[tuple[str, str], str] = {}

    def begin(self, node: str, interface: str) -> int:
        """A descriptor of an empty file; what was written before becomes `….older.pcapng`. Raises HostError."""
        newest = self._directory / self._name(node, interface)
        make_directories(self._directory, self._owner)
        try:
            if newest.exists():
                newest.replace(newest.with_suffix(".older.pcapng"))
        except OSError as error:
            raise HostError(f"cannot rename {newest}: {error.strerror}") from error
        return open_append(newest, self._owner)

    def path(self, node: str, interface: str) -> str:
        """The file's path below the sim's directory."""
        return f"{DIRECTORY}/{self._name(node, interface)}"

    def _name(self, node: str, interface: str) -> str:
        key = node, interface
        if key not in self._stems:
            self._stems[key] = self._names.claim(file_name(f"{node}.{interface}"))
        return f"{self._stems[key]}.pcapng"


def remove_captures(directory: Path) -> None:
    """Removes what an earlier record has left in its place."""
    for path in (directory / DIRECTORY).glob("*.pcapng"):
        path.unlink()
