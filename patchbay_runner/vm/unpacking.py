"""What comes out of a guest, written to a directory of the host and nowhere else.

tarfile's own filters came with Python 3.11.4.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

_MODES = 0o777


def unpack(archive: tarfile.TarFile, root: Path) -> None:
    """Writes the directories, files and symbolic links of an archive; what would lead out of `root` is left out.

    Files belong to whoever runs this. The archive has no hard links (GNU tar's --hard-dereference).
    """
    root.mkdir(parents=True, exist_ok=True)
    base = root.resolve()
    for member in archive:
        place = base / member.name
        # A link that came before could lead anywhere.
        if ".." in Path(member.name).parts or not place.parent.resolve().is_relative_to(base):
            continue
        if member.isdir():
            _make_way(place, for_directory=True)
            place.mkdir(parents=True, exist_ok=True)
        elif member.issym() and (place.parent / member.linkname).resolve().is_relative_to(base):
            _make_way(place)
            place.symlink_to(member.linkname)
        elif member.isreg():
            _make_way(place)
            _write(archive, member, place)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None  # it is a regular file
    with content, place.open("wb") as file:
        shutil.copyfileobj(content, file)
    place.chmod(member.mode & _MODES)
    os.utime(place, (member.mtime, member.mtime))


def _make_way(place: Path, *, for_directory: bool = False) -> None:
    """Something of another kind may be there: a link is replaced, never followed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or (for_directory and place.is_file()):
        place.unlink()
    elif not for_directory and place.is_dir():
        shutil.rmtree(place)
    elif not for_directory:
        place.unlink(missing_ok=True)
