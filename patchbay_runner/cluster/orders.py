"""What home and workers say to each other. Records of one version of patchbay: workers of another are left out."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import msgspec

import patchbay_runner

# The files of a project are sent in pieces of this size, and results come home in such.
PIECE_BYTES = 1 << 20


class TravellingFile(msgspec.Struct, frozen=True):
    """A file of the project. `path` is relative to its root; `link` is what a symbolic link says, "" for a file."""

    path: str
    sha256: str = ""
    size: int = 0
    is_executable: bool = False
    link: str = ""


class Piece(msgspec.Struct, frozen=True):
    """A part of the content with the hash `sha256`, which is whole with the last one."""

    sha256: str
    offset: int
    data: bytes
    is_last: bool


class Command(msgspec.Struct, frozen=True):
    """A program that steps start, looked for on `path`; None is the worker's own PATH."""

    name: str
    path: str | None = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as it introduces itself. `incarnation` tells its process from an earlier one at the same address."""

    identity: str
    incarnation: str
    host: str
    machine: str
    python: str


class Suitability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether labs can run on a worker: `problem` is "" or says why not. `has_netem` says what impairs links there."""

    problem: str = ""
    has_netem: bool = False


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A sim for a worker. `key` is this attempt's; `binaries` are relative to the run's directory on the worker."""

    run: str
    key: str
    incarnation: str
    plan: bytes
    binaries: dict[str, str]
    timeout_s: float | None


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `patchbay _worker-run` is asked on its standard input: a sim, or without one whether labs can run."""

    job: msgspec.Raw = msgspec.Raw()
    commands: tuple[Command, ...] = ()


class Frame(msgspec.Struct, frozen=True):
    """A piece of what a worker reports of a sim, in order.

    `began`: its process runs. `messages`: a part of its message stream. `refused`: no sandbox can be made there, and
    why. `broken`: the process that watched the sandbox ended without a verdict, and what it said. `files`: a part of a
    tar archive. `end`: nothing comes after it.
    """

    kind: str
    data: bytes = b""


class Batch(msgspec.Struct, frozen=True):
    """Frames that wait for home; given again under the same number until the next call confirms it."""

    number: int
    frames: tuple[Frame, ...]


@cache
def identity() -> str:
    """The version of patchbay, with a hash of its code: two checkouts of one version may differ."""
    digest = hashlib.sha256()
    root = Path(patchbay_runner.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return f"{patchbay_runner.__version__} ({digest.hexdigest()[:12]})"
