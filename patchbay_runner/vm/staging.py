"""What a guest needs of this machine and does not see: sims outside of the project, and programs."""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from patchbay_runner.errors import BinaryError
from patchbay_runner.vm import executables

APP = PurePosixPath("/app")
TARGET = PurePosixPath("/target")
WORK = PurePosixPath("/work")
_SIMS = PurePosixPath("/tmp/patchbay-sims")
_PROGRAMS = ".local/share/patchbay/programs"
_KEY_LENGTH = 16
# Directories of a guest's root that are shared, or not for files.
_TAKEN = ("app", "dev", "proc", "run", "sys", "target", "work")


class Place(Protocol):
    """What is needed of a guest."""

    def inside(self, path: Path) -> str | None:
        """The guest's path of a shared file."""

    def output(self, argv: Sequence[str]) -> str:
        """What a command writes."""

    def copy_in(self, source: Path, directory: str) -> None:
        """Copies a file or a tree into a directory."""


def are_shared(files: Iterable[Path], workspace: Path) -> bool:
    """Whether a guest finds all these files below /app, as they are written and where links in them lead."""
    real = workspace.resolve()
    return all(
        (file.is_relative_to(workspace) or file.is_relative_to(real)) and file.resolve().is_relative_to(real)
        for file in map(_normal, files)
    )


def in_app(path: Path, workspace: Path, app: PurePosixPath = APP) -> PurePosixPath:
    """Where the guest has a path of the workspace, which is there at `app`."""
    written = _normal(path)
    base = workspace if written.is_relative_to(workspace) else workspace.resolve()
    return app.joinpath(*written.relative_to(base).parts)


def stage_sims(guest: Place, files: Iterable[Path], cwd: Path) -> PurePosixPath:
    """Copies files to the same paths below a directory of the guest, which is returned.

    So they find each other. `cwd` is there as well, though it may be empty.
    """
    name = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="patchbay-") as box:
        root = Path(box) / name
        for file in files:
            copy = root.joinpath(*_normal(file).parts[1:])
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        root.joinpath(*cwd.parts[1:]).mkdir(parents=True, exist_ok=True)
        guest.copy_in(root, str(_SIMS))
    return _SIMS / name


def link_path(guest: Place, path: Path, place: PurePosixPath, *, is_over: bool = False) -> PurePosixPath:
    """Lets a directory of this machine be found under its own path, if the guest has nothing there; what leads to it.

    `is_over` says that what the guest has there is this machine's too, such as a part of the project.

    Messages name it as people know it, and programs find what their compiler knew (Rust: `env!("CARGO_MANIFEST_DIR")`).
    """
    if path.parts[1] in _TAKEN:
        return place
    here = shlex.quote(str(path))
    is_same = f"[ {here} -ef {place} ]"
    is_used = "false" if is_over else f'[ -n "$(ls -A {here} 2>/dev/null)" ]'
    made = f"{{ sudo -n mkdir -p {here} && sudo -n mount --bind {place} {here}; }}"
    said = guest.output(["sh", "-c", f"{is_same} || {is_used} || {made}; {is_same} && echo same || true"])
    return PurePosixPath(path) if said.strip() == "same" else place


def check_programs(binaries: Sequence[Mapping[str, str]], machine: str) -> dict[str, Path]:
    """All programs by name. Raises BinaryError for those that cannot run in a guest with this processor."""
    found: dict[str, Path] = {}
    for name, text in (item for paths in binaries for item in paths.items()):
        path = Path(text)
        if found.setdefault(name, path) != path:
            raise BinaryError(f"{name!r} is {found[name]} in one sim and {path} in another", "one of them at a time")
    for name, path in found.items():
        executables.check(name, path, machine)
    return found


def stage_programs(guest: Place, found: Mapping[str, Path]) -> dict[str, PurePosixPath]:
    """Where the guest has each program; those that it does not see are copied there once."""
    places = {name: PurePosixPath(place) for name, path in found.items() if (place := guest.inside(path.resolve()))}
    hidden = {name: path for name, path in found.items() if name not in places}
    if not hidden:
        return places
    base, *there = guest.output(["sh", "-c", f"mkdir -p ~/{_PROGRAMS} && cd ~/{_PROGRAMS} && pwd && ls"]).splitlines()
    for name, path in hidden.items():
        key = _key(path)
        places[name] = PurePosixPath(base) / key / path.name
        if key not in there:
            _copy_program(guest, path, PurePosixPath(base), key)
            there.append(key)
    return places


def _copy_program(guest: Place, path: Path, base: PurePosixPath, key: str) -> None:
    """Under another name until it is whole: the copy may be interrupted."""
    with tempfile.TemporaryDirectory(prefix="patchbay-") as box:
        directory = Path(box) / f"{key}.part"
        directory.mkdir()
        shutil.copyfile(path, directory / path.name)
        (directory / path.name).chmod(0o755)
        guest.copy_in(directory, str(base))
    part, whole = shlex.quote(f"{base / key}.part"), shlex.quote(str(base / key))
    guest.output(["sh", "-c", f"rm -rf {whole} && mv {part} {whole}"])


def _normal(path: Path) -> Path:
    """Absolute, as it is written: links are not followed."""
    return Path(os.path.normpath(Path.cwd() / path))


def _key(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:_KEY_LENGTH]
