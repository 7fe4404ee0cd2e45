"""Python environments for a guest, put together on this machine: nothing is installed there, so no index is needed.

An environment is what `python3 -m venv --without-pip` would make in the guest, with packages for the guest's Python in
it. Its place is part of it, as its scripts name their interpreter.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePosixPath

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm.wheels import pip

_KEY_LENGTH = 16
# What the tags of wheels know of glibc began with it (PEP 600).
_FIRST_GLIBC_MINOR = 5
_MOST_KEPT = 12

_SCRIPT = """#!{python}
import sys
from {module} import {attribute}
sys.exit({call}())
"""


class GuestPython(msgspec.Struct, frozen=True):
    """The interpreter of a guest: `version` such as "3.13", `machine` as `uname -m` has it, glibc 2.`glibc_minor`."""

    version: str
    machine: str
    glibc_minor: int
    executable: str = "/usr/bin/python3"

    def platforms(self) -> list[str]:
        """The platform tags of wheels that fit, the best first."""
        minors = range(self.glibc_minor, _FIRST_GLIBC_MINOR - 1, -1)
        old = {17: f"manylinux2014_{self.machine}"}
        return [tag for minor in minors for tag in (f"manylinux_2_{minor}_{self.machine}", old.get(minor)) if tag]


class Packages(msgspec.Struct, frozen=True):
    """What shall be in an environment: wheels on this machine, requirements, and paths that are importable in it.

    `files` are requirements files.
    """

    wheels: tuple[Path, ...]
    requirements: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    import_paths: tuple[str, ...] = ()

    def key(self, python: GuestPython) -> str:
        """Names the environment by all that it is made from. Requirements without versions keep what they got first."""
        parts = [python.version, python.machine, *self.requirements, *self.import_paths]
        digest = hashlib.sha256("\0".join(parts).encode())
        for path in (*self.wheels, *self.files):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:_KEY_LENGTH]


def environment(
    packages: Packages, python: GuestPython, cache: Path, home: PurePosixPath, report: Callable[[str], None]
) -> Path:
    """The directory on this machine that is to be copied to `home` / its name in the guest.

    Raises BinaryError with what pip says, HostError when the cache cannot be written.
    """
    name = packages.key(python)
    kept = cache / name
    try:
        if kept.is_dir():
            os.utime(kept)
            return kept
        report(f"gathering Python packages for the machine (Python {python.version})")
        cache.mkdir(parents=True, exist_ok=True)
        with _beside(kept) as made:
            _fill(made, packages, python, home / name)
        _forget_old(cache)
    except OSError as error:
        raise HostError(f"cannot write {error.filename or cache}: {error.strerror}") from error
    return kept


def _fill(root: Path, packages: Packages, python: GuestPython, place: PurePosixPath) -> None:
    site = root / "lib" / f"python{python.version}" / "site-packages"
    site.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "pyvenv.cfg").write_text(f"home = {PurePosixPath(python.executable).parent}\nversion = {python.version}\n")
    for name in ("python3", "python"):
        (root / "bin" / name).symlink_to(python.executable)
    tags = [word for tag in python.platforms() for word in ("--platform", tag)]
    fitting = ["--python-version", python.version, "--implementation", "cp", "--only-binary=:all:", *tags]
    what = [str(wheel) for wheel in packages.wheels] + list(packages.requirements)
    what += [word for file in packages.files for word in ("--requirement", str(file))]
    pip(["install", "--no-compile", "--no-warn-script-location", "--target", str(site), *fitting, *what])
    shutil.rmtree(site / "bin", ignore_errors=True)  # scripts for this machine's interpreter
    if packages.import_paths:
        (site / "project.pth").write_text("".join(f"{path}\n" for path in packages.import_paths))
    for entry in metadata.EntryPoints(_entry_points(site)):
        script = root / "bin" / entry.name
        module, _, attribute = entry.value.partition(":")
        names = {"module": module, "attribute": attribute.partition(".")[0], "call": attribute}
        script.write_text(_SCRIPT.format(python=place / "bin" / "python3", **names))
        script.chmod(0o755)


def _entry_points(site: Path) -> Iterator[metadata.EntryPoint]:
    for distribution in metadata.distributions(path=[str(site)]):
        for entry in distribution.entry_points:
            if entry.group == "console_scripts":
                yield metadata.EntryPoint(entry.name, entry.value.partition("[")[0].strip(), entry.group)


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """A directory that becomes `place` at the end of the block, unless somebody else has made the same meanwhile."""
    made = Path(tempfile.mkdtemp(prefix="new-", dir=place.parent))
    try:
        yield made
        made.chmod(0o755)
        if not place.exists():
            made.rename(place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _forget_old(cache: Path) -> None:
    """Keeps those that were used last, as machines have copies of what they use."""
    kept: Sequence[Path] = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[_MOST_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
