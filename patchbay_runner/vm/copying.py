"""Shared directories where QEMU can share none: copies, which go in before a command and come out while it runs.

Both sides are listed, and what differs from the last time is sent as one tar archive. The host's directories that are
read-only in the guest go in alone.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm.share import Share
from patchbay_runner.vm.unpacking import unpack

# What a guest has no use for, and what may be large.
_LEFT_OUT = frozenset({".git", ".qemu-vm", ".venv", "node_modules", "__pycache__"})
_EVERY_S = 1.0
_PATIENCE_S = 600.0
Ssh = Callable[[str], list[str]]


class _Known(msgspec.Struct, frozen=True):
    """What both sides of a directory had when they were last the same."""

    host: dict[str, str]
    guest: dict[str, str]


class Copies:
    """The copied directories of a guest, among all that it sees of the host.

    `ssh` makes the command that runs a script in the guest; the listings are kept in `place`.
    """

    def __init__(self, ssh: Ssh, shares: tuple[Share, ...], place: Path) -> None:
        self._ssh = ssh
        self._all = shares
        self._shares = tuple(share for share in shares if share.by == "copy")
        self._place = place

    @contextmanager
    def fresh(self) -> Iterator[None]:
        """Copies in at the beginning, and out every second and at the end. Raises HostError."""
        for share in self._shares:
            self._send(share)
        if any(share.is_writable for share in self._shares):
            with self._fetching():
                yield
        else:
            yield

    @contextmanager
    def _fetching(self) -> Iterator[None]:
        has_ended = threading.Event()
        failures: list[HostError] = []

        def fetch_now_and_then() -> None:
            while not failures and not has_ended.wait(_EVERY_S):
                self._fetch_all(failures)

        fetcher = threading.Thread(target=fetch_now_and_then, name="patchbay-vm-copies", daemon=True)
        fetcher.start()
        try:
            yield
        finally:
            has_ended.set()
            fetcher.join()
        self._fetch_all(failures)
        if failures:
            raise failures[0]

    def _fetch_all(self, failures: list[HostError]) -> None:
        try:
            for share in self._shares:
                if share.is_writable:
                    self._fetch(share)
        except HostError as error:
            failures.append(error)

    def _send(self, share: Share) -> None:
        """Makes the guest's directory as the host's is now."""
        known, now = self._read(share), list_host(share.host, self._others(share))
        changed = [path for path, stamp in now.items() if known.host.get(path) != stamp]
        gone = [path for path in known.host if path not in now]
        if not changed and not gone:
            return
        directory = shlex.quote(share.guest)
        with tempfile.TemporaryFile() as told:
            if gone:
                with _spooled("\0".join(gone).encode()) as names:
                    self._talk(f"cd {directory} && xargs -0 rm -rf --", names, told)
            with _packed(share.host, changed) as archive:
                self._talk(f"tar -C {directory} --no-same-owner -xf -", archive, told)
        self._write(share, _Known(now, self._list_guest(share) if share.is_writable else {}))

    def _fetch(self, share: Share) -> None:
        """Brings what the guest has written since to the host."""
        known, now = self._read(share), self._list_guest(share)
        changed = [path for path, stamp in now.items() if known.guest.get(path) != stamp]
        if not changed:
            return
        options = "--no-recursion --null --hard-dereference --ignore-failed-read -T - -cf -"
        script = f"tar -C {shlex.quote(share.guest)} {options}"
        with _spooled("\0".join(changed).encode()) as names, tempfile.TemporaryFile() as archive:
            # A file that grows meanwhile is fetched again; tar says 1 for it.
            self._talk(script, names, archive, fine=(0, 1))
            archive.seek(0)
            with tarfile.open(fileobj=archive) as members:
                unpack(members, share.host)
        self._write(share, _Known(list_host(share.host, self._others(share)), now))

    def _list_guest(self, share: Share) -> dict[str, str]:
        script = f"find {shlex.quote(share.guest)} -mindepth 1 -printf '%P\\t%y %s %T@\\0'"
        with _spooled(b"") as nothing, tempfile.TemporaryFile() as told:
            self._talk(script, nothing, told, fine=(0, 1))
            told.seek(0)
            rows = (os.fsdecode(row).rpartition("\t") for row in told.read().split(b"\0") if row)
            return {path: stamp for path, _, stamp in rows}

    def _others(self, share: Share) -> frozenset[Path]:
        """Directories below a share that are shares of their own."""
        return frozenset(other.host for other in self._all if other.host != share.host)

    def _talk(self, script: str, said: IO[bytes], told: IO[bytes], fine: tuple[int, ...] = (0,)) -> None:
        """Files, not pipes, on both sides: what is copied may be larger than the memory."""
        try:
            done = subprocess.run(
                self._ssh(script), stdin=said, stdout=told, stderr=subprocess.PIPE, timeout=_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(f"copying took more than {_PATIENCE_S:g} s") from error
        if done.returncode not in fine:
            raise HostError(f"copying failed: {done.stderr.decode(errors='replace').strip()}")

    def _file(self, share: Share) -> Path:
        return self._place / f"copied-{share.tag}.json"

    def _read(self, share: Share) -> _Known:
        try:
            return msgspec.json.decode(self._file(share).read_bytes(), type=_Known)
        except (FileNotFoundError, msgspec.DecodeError):
            return _Known({}, {})

    def _write(self, share: Share, known: _Known) -> None:
        beside = self._file(share).with_suffix(f".{os.getpid()}")
        beside.write_bytes(msgspec.json.encode(known))
        beside.replace(self._file(share))


def list_host(root: Path, others: frozenset[Path]) -> dict[str, str]:
    """Every file and directory below `root` with what changes when it does, but for what no guest needs."""
    found: dict[str, str] = {}
    for directory, names, files in os.walk(root):
        here = Path(directory)
        names[:] = sorted(name for name in names if name not in _LEFT_OUT and here / name not in others)
        for name in (*names, *sorted(files)):
            with suppress(FileNotFoundError):  # removed since the directory was read
                found[str((here / name).relative_to(root))] = _stamp(here / name)
    return found


def _stamp(path: Path) -> str:
    """A directory's time changes with what is in it, which is listed itself."""
    status = path.lstat()
    mode = f"{status.st_mode:o}"
    return mode if stat.S_ISDIR(status.st_mode) else f"{mode} {status.st_size} {status.st_mtime_ns}"


def _packed(root: Path, paths: list[str]) -> IO[bytes]:
    packed = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in paths:
            with suppress(FileNotFoundError):
                archive.add(root / path, path, recursive=False)
    packed.seek(0)
    return packed


def _spooled(content: bytes) -> IO[bytes]:
    spooled = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    spooled.write(content)
    spooled.seek(0)
    return spooled
