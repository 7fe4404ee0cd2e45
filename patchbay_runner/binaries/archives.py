"""Picking one program out of an archive. Nothing else of it is ever written, and no name of it becomes a path."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from patchbay_runner.errors import BinaryError

# tarfile imports these when it needs them, perhaps with the rights of a user who cannot read our interpreter.
_DECOMPRESSORS = (bz2, gzip, lzma)
_TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar")
_ZIP_SUFFIXES = (".zip",)
_COMPRESSED = (b"\x1f\x8b", b"\xfd7zXZ\0")
_PROGRAM_HEADS = (b"\x7fELF", b"#!")
_EXECUTABLE = 0o111
_SHOWN_CANDIDATES = 12


class Member(msgspec.Struct, frozen=True):
    """An entry of an archive that is no directory."""

    name: str
    is_regular: bool
    is_executable: bool


def is_archive(url_path: str, path: Path) -> bool:
    """By the name, or by a compressed beginning: programs have none."""
    if url_path.lower().endswith(_TAR_SUFFIXES + _ZIP_SUFFIXES):
        return True
    with path.open("rb") as file:
        return file.read(6).startswith(_COMPRESSED)


@contextmanager
def opened_program(path: Path, wanted: Sequence[str], shown: str) -> Iterator[tuple[str, IO[bytes]]]:
    """The file name and the content of the program in the archive at `path`.

    `wanted` holds names to look for, the first that is there counts; else it is the only program. `shown` names the
    archive in messages. Raises BinaryError when there is no such program, and for archives that reach outside.
    """
    with path.open("rb") as file:
        opened = _opened_zip if file.read(2) == b"PK" else _opened_tar
    try:
        with opened(path) as (members, read):
            name = pick(members, wanted, shown)
            with read(name) as source:
                yield PurePosixPath(name).name, source
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, lzma.LZMAError, zlib.error, RuntimeError) as error:
        # RuntimeError is zipfile's for an encrypted member
        raise BinaryError(
            f"{shown} cannot be read as an archive: {error}", "a .tar.gz, .tar.xz or .zip file"
        ) from error


def pick(members: Sequence[Member], wanted: Sequence[str], shown: str) -> str:
    """The name of the program. Raises BinaryError as `opened_program` does."""
    for member in members:
        if member.name.startswith("/") or ".." in PurePosixPath(member.name).parts:
            raise BinaryError(f"{shown} is refused: its entry {member.name!r} points outside of it")
    for name in wanted:
        found = [member for member in members if _is_called(member.name, name)]
        best = [member for member in found if member.is_executable] or found
        if len(best) == 1:
            return _regular(best[0], shown)
        if best:
            raise BinaryError(f"{shown} holds several files {name!r}", f"one of them in full, as bin: {_list(best)}")
    programs = [member for member in members if member.is_executable]
    if len(programs) == 1:
        return programs[0].name
    candidates = programs or members
    expected = f"the right name as bin, one of: {_list(candidates)}" if candidates else "an archive with a program"
    raise BinaryError(f"{shown} holds no file {' or '.join(map(repr, wanted))}", expected)


def _is_called(name: str, wanted: str) -> bool:
    """Whether the last parts of the name are those of `wanted`."""
    parts, last = PurePosixPath(name).parts, PurePosixPath(wanted).parts
    return bool(last) and parts[-len(last) :] == last


def _regular(member: Member, shown: str) -> str:
    if not member.is_regular:
        raise BinaryError(f"{shown} is refused: {member.name!r} is a link or a device", "a regular file")
    return member.name


def _list(members: Sequence[Member]) -> str:
    names = [member.name for member in members]
    more = [f"and {len(names) - _SHOWN_CANDIDATES} more"] if len(names) > _SHOWN_CANDIDATES else []
    return ", ".join(names[:_SHOWN_CANDIDATES] + more)


_Opened = tuple[list[Member], Callable[[str], IO[bytes]]]


@contextmanager
def _opened_tar(path: Path) -> Iterator[_Opened]:
    with tarfile.open(path) as archive:
        infos = {info.name.removeprefix("./"): info for info in archive if not info.isdir()}

        def read(name: str) -> IO[bytes]:
            source = archive.extractfile(infos[name])
            assert source is not None  # a regular file
            return source

        members = [
            Member(name, info.isreg(), info.isreg() and bool(info.mode & _EXECUTABLE)) for name, info in infos.items()
        ]
        yield members, read


@contextmanager
def _opened_zip(path: Path) -> Iterator[_Opened]:
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename.removeprefix("./"): info for info in archive.infolist() if not info.is_dir()}
        has_modes = any(info.external_attr >> 16 & _EXECUTABLE for info in infos.values())
        members = [_zip_member(archive, name, info, has_modes=has_modes) for name, info in infos.items()]
        yield members, lambda name: archive.open(infos[name])


def _zip_member(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo, *, has_modes: bool) -> Member:
    """Archives made elsewhere than on Unix know no programs: there the content tells."""
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return Member(name, False, False)
    if has_modes:
        return Member(name, True, bool(mode & _EXECUTABLE))
    with archive.open(info) as file:
        return Member(name, True, file.read(4).startswith(_PROGRAM_HEADS))
