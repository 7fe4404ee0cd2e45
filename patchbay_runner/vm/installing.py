"""Python environments in a guest: each is copied there once, and kept for as long as the disk."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm.environments import GuestPython, Packages, environment

_PLACE = ".local/share/patchbay/environments"
_INTERPRETER = "/usr/bin/python3"
# Its version, its processor, its glibc; then the home directory and what is installed there.
_QUESTION = """import os, platform, sys
place = os.path.expanduser("~/{place}")
there = os.listdir(place) if os.path.isdir(place) else []
print("%d.%d" % sys.version_info[:2], platform.machine(), platform.libc_ver()[1] or "?", place, *there, sep="\\n")"""


class PythonGuest(Protocol):
    """What is needed of a guest."""

    def output(self, argv: Sequence[str]) -> str:
        """What a command writes."""

    def copy_in(self, source: Path, directory: str) -> None:
        """Copies a tree into a directory."""


class _Answer(msgspec.Struct, frozen=True):
    python: GuestPython
    place: PurePosixPath
    there: frozenset[str]


def install(guest: PythonGuest, packages: Packages, cache: Path, report: Callable[[str], None]) -> PurePosixPath:
    """The environment's directory in the guest, where it is put together with the packages that fit it.

    Raises BinaryError when they cannot be had, HostError when the guest cannot take them.
    """
    answer = _ask(guest)
    key = packages.key(answer.python)
    place = answer.place / key
    if key in answer.there:
        return place
    made = environment(packages, answer.python, cache, answer.place, report)
    report("installing Python packages in the machine")
    # Beside its place until it is whole: the copy may be interrupted.
    guest.copy_in(made, str(answer.place / "new"))
    renamed = f"rm -rf {_quoted(place)} && mv {_quoted(answer.place / 'new' / made.name)} {_quoted(place)}"
    guest.output(["sh", "-c", renamed])
    return place


def _ask(guest: PythonGuest) -> _Answer:
    said = guest.output([_INTERPRETER, "-c", _QUESTION.format(place=_PLACE)]).splitlines()
    try:
        version, machine, glibc, place, *there = said
        minor = int(glibc.split(".")[1])
    except (ValueError, IndexError) as error:
        problem = f"the machine's {_INTERPRETER} says nothing of use: {' '.join(said)!r}"
        raise HostError(problem, "an image of Debian") from error
    return _Answer(GuestPython(version, machine, minor, _INTERPRETER), PurePosixPath(place), frozenset(there))


def _quoted(path: PurePosixPath) -> str:
    return shlex.quote(str(path))
