"""The processes that run sims for a worker, a sim each.

A zygote is forked from a process with one thread, which no Dask worker is: so each sim has `patchbay _worker-run`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from patchbay_runner.cluster.mailbox import Abandoned, Mailbox
from patchbay_runner.cluster.orders import PIECE_BYTES, Command, Order, Request, Suitability
from patchbay_runner.cluster.project import PROJECT

# Not from the working directory: a project may have a package of that name.
_WATCHER = (sys.executable, "-P", "-m", "patchbay_runner", "_worker-run")
_LONGEST_PROBE_S = 60.0
_POLL_MS = 1000
_LAST_BYTES = 8192
_EXIT_REFUSED = 4
_STOP = b"stop\n"


class Watches:
    """The sims of a worker that run, by their keys."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: Counter[str] = Counter()
        self._watchers: dict[str, subprocess.Popen[bytes]] = {}

    def stop(self, key: str) -> None:
        """Asks a sim to end: the first time cleanly, the second at once. One that has not begun will find it."""
        with self._lock:
            self._stops[key] += 1
            if watcher := self._watchers.get(key):
                _write(watcher, _STOP)

    def forget(self, key: str) -> None:
        """The sim does not begin any more."""
        with self._lock:
            del self._stops[key]

    def run(self, order: Order, directory: Path, results: Path, box: Mailbox) -> None:
        """Runs a sim to its end, with its files below `results`. Raises Abandoned."""
        with tempfile.TemporaryFile() as said, _start(directory / PROJECT, said) as watcher:
            try:
                _write(watcher, msgspec.json.encode(_request(order, directory, results)) + b"\n")
                self._add(order.key, watcher)
                box.put("began")
                _pass_on(watcher, box)
            except BaseException:
                watcher.kill()  # the kernel ends its sandbox with it
                raise
            finally:
                with self._lock:
                    self._watchers.pop(order.key, None)
            _judge(watcher.wait(), said, box)

    def _add(self, key: str, watcher: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._watchers[key] = watcher
            _write(watcher, _STOP * self._stops[key])


def probe(commands: Sequence[Command]) -> Suitability:
    """Tries a sandbox, and looks for programs."""
    request = msgspec.json.encode(Request(commands=tuple(commands))) + b"\n"
    with tempfile.TemporaryFile() as said, _start(Path.cwd(), said) as watcher:
        try:
            output, _ = watcher.communicate(request, _LONGEST_PROBE_S)
        except subprocess.TimeoutExpired:
            watcher.kill()
            return Suitability(problem=f"no sandbox could be made in {_LONGEST_PROBE_S:g} s")
        said.seek(0)
        text = said.read().decode(errors="replace").strip()
    if watcher.returncode == _EXIT_REFUSED:
        return Suitability(problem="; ".join(filter(None, json.loads(text).values())))
    if watcher.returncode:
        return Suitability(problem=f"its probe exited with code {watcher.returncode}: {text}")
    return msgspec.json.decode(output, type=Suitability)


def _request(order: Order, directory: Path, results: Path) -> Request:
    job = {
        "plan": msgspec.Raw(order.plan),
        "directory": str(results),
        "project_root": str(directory / PROJECT),
        "binaries": {name: str(directory / path) for name, path in order.binaries.items()},
        "timeout_s": order.timeout_s,
        "owner": None,
    }
    return Request(job=msgspec.Raw(msgspec.json.encode(job)))


def _start(directory: Path, said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(_WATCHER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, cwd=directory)


def _write(watcher: subprocess.Popen[bytes], data: bytes) -> None:
    assert watcher.stdin
    with suppress(BrokenPipeError):  # it has ended, and its exit code says why
        watcher.stdin.write(data)
        watcher.stdin.flush()


def _pass_on(watcher: subprocess.Popen[bytes], box: Mailbox) -> None:
    """Passes the message stream on to its end. Raises Abandoned."""
    assert watcher.stdout
    output = watcher.stdout.fileno()
    poller = select.poll()
    poller.register(output, select.POLLIN)
    while True:
        if not poller.poll(_POLL_MS):
            if box.is_abandoned:
                raise Abandoned
        elif chunk := os.read(output, PIECE_BYTES):
            box.put("messages", chunk)
        else:
            return


def _judge(code: int, said: IO[bytes], box: Mailbox) -> None:
    """How the process ended, where that is no verdict."""
    if code == 0:
        return
    said.seek(0, os.SEEK_END)
    said.seek(-min(said.tell(), _LAST_BYTES), os.SEEK_END)
    text = said.read()
    if code == _EXIT_REFUSED:
        box.put("refused", text)
    else:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        box.put("broken", f"the process that watched the sandbox {how}\n".encode() + text)
