"""Programs that a control socket's clients run in nodes: started with files or memory as their streams."""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
import select
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from patchbay_runner.control import requests
from patchbay_runner.control.wire import Refusal, bad_request
from patchbay_runner.lab.client import LabClient, RemoteProcess

# What of a captured stream a reply holds at most: a line is to stay below the limit of lines.
STREAM_LIMIT_BYTES = 4 << 20
# How often output is looked at that somebody waits for; the kernel tells nobody when memory is written.
_LOOK_INTERVAL_S = 0.02
_STREAMS = ("stdout", "stderr")


class Program:
    """A program in a node. `captured` has, for each stream that is captured, the memory that holds it."""

    def __init__(self, remote: RemoteProcess, captured: dict[str, int]) -> None:
        self.remote = remote
        self._captured = captured

    def output(self, encoding: requests.Encoding) -> dict[str, Any]:
        """What it has written so far, and which streams are longer than a reply holds."""
        found: dict[str, Any] = {}
        for name, fd in self._captured.items():
            found[name] = _written(os.pread(fd, STREAM_LIMIT_BYTES, 0), encoding)
        cut = [name for name, fd in self._captured.items() if os.fstat(fd).st_size > STREAM_LIMIT_BYTES]
        return {**found, "cut": cut} if cut else found

    async def ended(self, timeout_s: float | None) -> bool:
        """Waits for its end; False when the time is over."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        fd = os.dup(self.remote.fileno())  # the loop knows one waiter a descriptor
        loop.add_reader(fd, lambda: None if over.done() else over.set_result(None))
        try:
            await asyncio.wait_for(over, timeout_s)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(fd)
            os.close(fd)
        return True

    def has_ended(self) -> bool:
        """Whether its first process has."""
        return bool(select.select([self.remote], [], [], 0)[0])

    async def wrote(self, asked: requests.WaitOutput) -> str:
        """The first line of a captured stream that matches. Raises Refusal."""
        if asked.stream not in self._captured:
            raise bad_request(f"wait_output: its {asked.stream} goes to a file")
        try:
            is_wanted = re.compile(asked.pattern.encode()).search
        except re.error as error:
            raise bad_request(f"wait_output: the pattern is no regular expression: {error}") from error
        try:
            return await asyncio.wait_for(self._line(asked.stream, lambda line: bool(is_wanted(line))), asked.timeout_s)
        except TimeoutError:
            message = f"no line of {asked.stream} matches {asked.pattern!r} after {asked.timeout_s:g} s"
            raise Refusal("Timeout", message, **self.output("utf-8")) from None
        except EOFError:
            message = f"the program has ended, and no line of its {asked.stream} matches {asked.pattern!r}"
            raise Refusal("ProgramEnded", message + self._last_words(), **self.output("utf-8")) from None

    async def _line(self, stream: str, is_wanted: Callable[[bytes], bool]) -> str:
        seen = 0
        while (fd := self._captured.get(stream)) is not None:
            has_ended = self.has_ended()
            end = os.fstat(fd).st_size
            *whole, rest = os.pread(fd, end - seen, seen).split(b"\n")
            for line in [*whole, rest] if has_ended else whole:
                if is_wanted(line):
                    return line.decode(errors="replace")
            if has_ended:
                break
            seen = end - len(rest)
            await asyncio.sleep(_LOOK_INTERVAL_S)
        raise EOFError

    def _last_words(self) -> str:
        lines = str(self.output("utf-8").get("stderr", "")).strip().splitlines()
        return f"; it said: {lines[-1]}" if lines else ""

    def close(self) -> None:
        """Lets go of what is captured."""
        for fd in self._captured.values():
            os.close(fd)
        self._captured = {}


def start(client: LabClient, asked: requests.Run | requests.Spawn) -> Program:
    """Starts a program. Raises LabError, StepError, OSError for a file that cannot be opened."""
    if not asked.argv:
        raise bad_request("argv is empty")
    for name in asked.env:
        if not name or "=" in name:
            raise bad_request(f"{name!r} cannot be the name of a variable")
    cwd = Path(asked.cwd or ".").absolute()
    captured: dict[str, int] = {}
    with ExitStack() as failing, ExitStack() as stack:
        stdin = _memory("stdin", stack)
        os.pwrite(stdin, _read(asked.input, asked.encoding), 0)
        streams = {}
        for name, path in zip(_STREAMS, (asked.stdout, asked.stderr), strict=True):
            if path is None:
                streams[name] = captured[name] = _memory(name, failing)
            else:
                streams[name] = os.open(cwd / path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
                stack.callback(os.close, streams[name])
        remote = client.popen(asked.node, asked.argv, env=asked.env, cwd=str(cwd), stdin=stdin, **streams)
        failing.pop_all()
    return Program(remote, captured)


def _memory(name: str, stack: ExitStack) -> int:
    fd = os.memfd_create(name)
    stack.callback(os.close, fd)
    return fd


def _read(text: str, encoding: requests.Encoding) -> bytes:
    if encoding == "utf-8":
        return text.encode(errors="surrogateescape")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise bad_request(f"input is not base64: {error}") from error


def _written(content: bytes, encoding: requests.Encoding) -> str:
    return content.decode(errors="replace") if encoding == "utf-8" else base64.b64encode(content).decode()


def signal_number(wanted: str | int) -> int:
    """The number of a signal by its name, with or without SIG, or by itself. Raises Refusal."""
    if isinstance(wanted, int):
        if wanted in signal.valid_signals():
            return wanted
    else:
        name = wanted.upper()
        found = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
        if isinstance(found, signal.Signals):
            return found
    raise bad_request(f"there is no signal {wanted!r}")
