"""Names of sims, nodes and steps as names of files and directories."""

from __future__ import annotations

import re

# A file system takes 255 bytes; a stream, a suffix and `.log` have to fit behind a name.
_LONGEST = 180


def directory_name(name: str) -> str:
    """`name` as the directory of a sim: letters, digits, `-` and `_` stay, everything else becomes `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST] or "_"


def file_name(name: str) -> str:
    """`name` as a file's: what separates, hides or cannot be seen becomes `_`. Names of devices stay as they are."""
    safe = re.sub(r"[/\s\x00-\x1f\x7f]|^\.", "_", name)
    return safe.encode()[:_LONGEST].decode(errors="ignore") or "_"


def is_portable(name: str) -> bool:
    """Whether a file's name can go to another machine and be shown there: UTF-8, without control characters."""
    return not re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name)


class UniqueNames:
    """Gives out names, with `-2`, `-3`, … behind those that were given already."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._given: dict[str, str] = {}

    def claim(self, wanted: str) -> str:
        """`wanted`, or the first free name that starts with it."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}-{number}"
        self._taken.add(name)
        return name

    def file_of(self, key: str) -> str:
        """The same file name for the same `key` and another for any other, however alike they look when made safe."""
        if key not in self._given:
            self._given[key] = self.claim(file_name(key))
        return self._given[key]
