"""A worker's side of files: contents by their hash, kept while the worker lives, and trees made from them."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from patchbay_runner.cluster.orders import Piece, TravellingFile

_UNUSED_S = 7 * 24 * 3600.0


class Store:
    """Below `root`: `contents/<sha256>`, and `runs/<run>/` with what one run needs."""

    def __init__(self, root: Path) -> None:
        self._contents = root / "contents"
        self._runs = root / "runs"

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Those that have to be sent. The others count as used from now."""
        lacking = []
        for sha256 in hashes:
            try:
                os.utime(self._contents / sha256)
            except FileNotFoundError:
                lacking.append(sha256)
        return lacking

    def take(self, sender: str, pieces: Sequence[Piece]) -> None:
        """Adds pieces in their order. Raises ValueError for a content that is not what its name says."""
        self._contents.mkdir(parents=True, exist_ok=True)
        for piece in pieces:
            path = self._contents / f"{piece.sha256}.{sender}"
            with path.open("r+b" if piece.offset else "wb") as file:
                file.seek(piece.offset)
                file.write(piece.data)
            if piece.is_last:
                _check(path, piece.sha256)
                path.replace(self._contents / piece.sha256)

    def build(self, run: str, trees: dict[str, Sequence[TravellingFile]]) -> Path:
        """Makes the run's directory with the trees of these names in it, whole or not at all."""
        self._forget_unused()
        directory = self.directory(run)
        beside = directory.with_name(f"{run}.new")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        for name, files in trees.items():
            (beside / name).mkdir()
            for file in files:
                self._place(beside / name / file.path, file)
        shutil.rmtree(directory, ignore_errors=True)
        beside.rename(directory)
        return directory

    def directory(self, run: str) -> Path:
        """Where a run has its files."""
        return self._runs / run

    def forget(self, run: str) -> None:
        """Takes the run's files away; the contents stay for the next."""
        shutil.rmtree(self.directory(run), ignore_errors=True)

    def _place(self, path: Path, file: TravellingFile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link:
            path.symlink_to(file.link)
            return
        shutil.copyfile(self._contents / file.sha256, path)
        path.chmod(0o755 if file.is_executable else 0o644)

    def _forget_unused(self) -> None:
        """What no run asked for in a week, and runs that nobody ended."""
        oldest = time.time() - _UNUSED_S
        for directory in (self._contents, self._runs):
            directory.mkdir(parents=True, exist_ok=True)
            for path in directory.iterdir():
                with suppress(FileNotFoundError):  # another run was quicker
                    if path.stat().st_mtime < oldest:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _check(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise ValueError(f"received {found} for {sha256}")
