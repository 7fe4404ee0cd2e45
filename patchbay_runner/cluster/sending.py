"""The files of a sim on their way home."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.cluster.mailbox import Mailbox
from patchbay_runner.cluster.orders import PIECE_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _FilesWriter(io.RawIOBase):
    """Takes an archive and hands it on."""

    def __init__(self, box: Mailbox) -> None:
        self._box = box

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        content = bytes(data)
        self._box.put("files", content)
        return len(content)


def send_files(directory: Path, box: Mailbox) -> None:
    """What the sandbox wrote, as a tar archive."""

    def sendable(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """Symbolic links, pipes and devices stay, and so does what a program made unreadable."""
        is_readable = os.access(directory / member.name, os.R_OK)
        return member if (member.isreg() or member.islnk() or member.isdir()) and is_readable else None

    with tarfile.open(fileobj=_FilesWriter(box), mode="w|", bufsize=PIECE_BYTES) as archive:
        for path in sorted(directory.iterdir()):
            archive.add(path, path.name, filter=sendable)
