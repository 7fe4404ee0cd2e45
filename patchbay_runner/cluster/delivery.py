"""The files of a sim as they come home."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from patchbay_runner.results.files import Owner, make_directories, open_append


class Delivery:
    """Gathers the archive beside the sim's directory and unpacks it when it is whole: all of it comes, or nothing."""

    def __init__(self, directory: Path, owner: Owner | None) -> None:
        self._directory = directory
        self._owner = owner
        self._spool: IO[bytes] | None = None

    def add(self, data: bytes) -> None:
        """Takes the next piece."""
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(dir=self._directory.parent)  # noqa: SIM115 - `discard` closes it
        self._spool.write(data)

    def unpack(self) -> None:
        """Puts the files in their places. Raises ValueError for an archive that cannot be unpacked there."""
        if self._spool is None:
            return
        self._spool.seek(0)
        try:
            with tarfile.open(fileobj=self._spool) as archive:
                for member in archive:
                    self._place(archive, member)
        except tarfile.TarError as error:
            raise ValueError(f"the worker sent no archive: {error}") from error
        finally:
            self.discard()

    def discard(self) -> None:
        """The rest will not come."""
        if self._spool:
            self._spool.close()
            self._spool = None

    def _place(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._path(member.name)
        make_directories(path if member.isdir() else path.parent, self._owner)
        if member.islnk():  # two names of one log
            path.hardlink_to(self._path(member.linkname))
        elif content := archive.extractfile(member) if member.isreg() else None:
            with content, os.fdopen(open_append(path, self._owner), "wb") as file:
                shutil.copyfileobj(content, file)
                os.fchmod(file.fileno(), member.mode & 0o777)

    def _path(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or name.startswith("/"):
            raise ValueError(f"the worker sent a file {name!r}, which lies outside of the sim's directory")
        return self._directory.joinpath(*parts)
