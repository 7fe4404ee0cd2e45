"""Which files travel to the workers: the project's, and programs that lie elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from patchbay_runner.cluster.orders import PIECE_BYTES, Piece, TravellingFile
from patchbay_runner.errors import Diagnostic, HostError, InputError

LIMIT_BYTES = 1 << 30
_LONGEST_LISTING_S = 60.0
# Where a worker keeps the two beside each other, below the directory of a run.
PROJECT, PROGRAMS = "project", "programs"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a worker needs. `sources` says where each content lies at home, by its hash."""

    project: tuple[TravellingFile, ...]
    programs: tuple[TravellingFile, ...]
    sources: Mapping[str, Path]
    # Where each binary lies on a worker, below the directory of the run, by its path at home.
    places: Mapping[str, str]


def pack(root: Path, binaries: Sequence[Mapping[str, str]], left_out: Iterable[Path], copies: Path) -> Package:
    """The project below `root` without what lies below `left_out`, and the programs in `binaries`.

    `copies` is a directory to keep their contents in while workers may ask for them.

    In a Git checkout these are the files that Git tracks or would track. Programs of the project keep their place in
    it, ignored or not: scripts look for what lies beside them. Raises InputError for a project that is too large to be
    meant, HostError when Git cannot list it.
    """
    programs = {path for each in binaries for path in each.values()}
    inside = {path: os.path.relpath(path, root) for path in programs if Path(path).is_relative_to(root)}
    outside = {path: f"{number}/{Path(path).name}" for number, path in enumerate(sorted(programs - inside.keys()))}
    skipped = tuple(path.resolve() for path in left_out)
    listed = {path for path in _listed(root) if not any((root / path).is_relative_to(each) for each in skipped)}
    _check_size(root, listed)
    snapshot = _Snapshot(copies)
    places = {path: f"{PROJECT}/{place}" for path, place in inside.items()}
    places |= {path: f"{PROGRAMS}/{place}" for path, place in outside.items()}
    return Package(
        project=tuple(snapshot.take(((root / path, path) for path in sorted(listed | {*inside.values()})), root)),
        programs=tuple(snapshot.take(((Path(path), place) for path, place in outside.items()), None)),
        sources=snapshot.sources,
        places=places,
    )


def pieces(sha256: str, source: Path) -> Iterator[Piece]:
    """The content in pieces."""
    size, offset = source.stat().st_size, 0
    with source.open("rb") as file:
        while True:
            data = file.read(PIECE_BYTES)
            begin, offset = offset, offset + len(data)
            yield Piece(sha256, begin, data, offset >= size)
            if offset >= size:
                return


class _Snapshot:
    """Copies of contents as they are now: a worker that comes hours later gets what the first one got."""

    def __init__(self, directory: Path) -> None:
        self.sources: dict[str, Path] = {}
        self._directory = directory

    def take(self, paths: Iterable[tuple[Path, str]], root: Path | None) -> Iterator[TravellingFile]:
        """Each file as it travels. Sockets and pipes stay at home."""
        for source, place in paths:
            if root is not None and source.is_symlink() and _stays_below(source, root):
                yield TravellingFile(place, link=str(source.readlink()))
            elif stat.S_ISREG(mode := source.stat().st_mode):
                sha256 = self._copy(source)
                size = self.sources[sha256].stat().st_size
                yield TravellingFile(place, sha256, size, bool(mode & stat.S_IXUSR))

    def _copy(self, source: Path) -> str:
        digest, beside = hashlib.sha256(), self._directory / "new"
        with source.open("rb") as file, beside.open("wb") as copy:
            while data := file.read(PIECE_BYTES):
                digest.update(data)
                copy.write(data)
        sha256 = digest.hexdigest()
        self.sources[sha256] = beside.rename(self._directory / sha256)
        return sha256


def _stays_below(link: Path, root: Path) -> bool:
    target = link.readlink()
    return not target.is_absolute() and Path(os.path.normpath(link.parent / target)).is_relative_to(root)


def _listed(root: Path) -> Iterator[str]:
    """The project's files, relative to its root; what a listing names and is no more is left out."""
    names = _in_git(root) if shutil.which("git") and _is_checkout(root) else _on_disk(root)
    for name in names:
        path = root / name
        if path.is_dir() and not path.is_symlink():  # a submodule
            yield from (f"{name.rstrip('/')}/{below}" for below in _listed(path))
        elif path.exists():
            yield name


def _is_checkout(root: Path) -> bool:
    return any((directory / ".git").exists() for directory in (root, *root.parents))


def _in_git(root: Path) -> list[str]:
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    found = subprocess.run(command, capture_output=True, timeout=_LONGEST_LISTING_S, check=False)
    if found.returncode:
        raise HostError(f"Git cannot list {root}: {os.fsdecode(found.stderr).strip()}", " ".join(command))
    return [os.fsdecode(name) for name in found.stdout.split(b"\0") if name]


def _on_disk(root: Path) -> Iterator[str]:
    for directory, below, names in os.walk(root):
        links = [name for name in below if (Path(directory) / name).is_symlink()]
        below[:] = [name for name in below if name != ".git" and name not in links]
        yield from (os.path.relpath(Path(directory) / name, root) for name in (*names, *links))


def _check_size(root: Path, listed: Iterable[str]) -> None:
    sizes = {path: (root / path).stat().st_size for path in listed}
    total = sum(sizes.values())
    if total <= LIMIT_BYTES:
        return
    largest = max(sizes, key=lambda path: sizes[path])
    message = f"{len(sizes)} files of {total >> 20} MiB would travel to every worker, the largest is {largest}"
    expected = f"at most {LIMIT_BYTES >> 20} MiB: another --project-root, or a Git checkout that ignores what is built"
    raise InputError([Diagnostic(str(root), 0, "", message, expected)])
