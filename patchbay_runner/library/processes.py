"""Programs in nodes, as `subprocess` has them."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from patchbay_runner.lab.client import LabClient, RemoteProcess

Command = Sequence[str | os.PathLike[str]]
PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT


class Popen:
    """A program that runs in a node. `pid` counts inside the lab; streams are those that were asked for with PIPE.

    Examples:
        >>> sleeping = server.popen(["sleep", "1000"])
        >>> sleeping.terminate()
        >>> sleeping.wait(timeout=5)
        -15
    """

    def __init__(self, args: Command, remote: RemoteProcess, pipes: Mapping[str, IO[Any] | None]) -> None:
        self.args = args
        self.pid = remote.pid
        self.stdin, self.stdout, self.stderr = pipes["stdin"], pipes["stdout"], pipes["stderr"]
        self._remote = remote
        self._readers: list[_Reader] | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None until `poll` or `wait` has seen the end.

        Examples:
            >>> done = server.popen(["true"])
            >>> _ = done.wait(timeout=5)
            >>> done.returncode
            0
        """
        return self._remote.returncode

    def fileno(self) -> int:
        """Readable once it has ended.

        Examples:
            >>> import select
            >>> ending = server.popen(["true"])
            >>> readable, _, _ = select.select([ending], [], [], 5)
            >>> readable == [ending], ending.wait()
            (True, 0)
        """
        return self._remote.fileno()

    def poll(self) -> int | None:
        """The exit code if it has ended, else None.

        Examples:
            >>> sleeping = server.popen(["sleep", "1000"])
            >>> sleeping.poll() is None
            True
        """
        return self._remote.poll(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; `timeout` in seconds. Raises subprocess.TimeoutExpired.

        Examples:
            >>> server.popen(["sh", "-c", "exit 3"]).wait(timeout=5)
            3
        """
        code = self._remote.poll(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired([os.fspath(part) for part in self.args], timeout)
        return code

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Writes `input`, reads all output, waits; gives standard output and error, None for what is no pipe.

        `timeout` in seconds. Raises subprocess.TimeoutExpired; the program goes on then.

        Examples:
            >>> from patchbay_runner import PIPE
            >>> with server.popen(["tr", "a-z", "A-Z"], stdin=PIPE, stdout=PIPE, text=True) as shouting:
            ...     shouting.communicate("hello", timeout=5)
            ('HELLO', None)
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        if self._readers is None:
            self._readers = [_Reader(stream) for stream in (self.stdout, self.stderr)]
            if self.stdin is not None:
                _feed(self.stdin, input)
        for reader in self._readers:
            reader.join(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        self.wait(None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        stdout, stderr = (reader.content for reader in self._readers)
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        """Signals its whole process group, unless it has ended.

        Examples:
            >>> import signal
            >>> sleeping = server.popen(["sleep", "1000"])
            >>> sleeping.send_signal(signal.SIGINT)
            >>> sleeping.wait(timeout=5)
            -2
        """
        if self.poll() is None:
            self._remote.send_signal(number)

    def terminate(self) -> None:
        """Sends SIGTERM to its process group.

        Examples:
            >>> sleeping = server.popen(["sleep", "1000"])
            >>> sleeping.terminate()
        """
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL to its process group.

        Examples:
            >>> sleeping = server.popen(["sleep", "1000"])
            >>> sleeping.kill()
            >>> sleeping.wait(timeout=5)
            -9
        """
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the streams and waits for the end, as `subprocess.Popen` does."""
        for stream in (self.stdout, self.stderr, self.stdin):
            if stream is not None:
                stream.close()
        self.wait()


class _Reader(threading.Thread):
    """Reads a stream to its end, beside whatever else happens; there may be none."""

    def __init__(self, stream: IO[Any] | None) -> None:
        super().__init__(daemon=True)
        self.content: Any = None
        self._stream = stream
        self.start()

    def run(self) -> None:
        if self._stream is not None:
            self.content = self._stream.read()


def _feed(stream: IO[Any], content: Any) -> None:
    try:
        if content:
            stream.write(content)
        stream.close()
    except BrokenPipeError:
        pass  # it has ended without reading, as it may


def start(
    client: LabClient,
    node: str,
    args: Command,
    *,
    stdin: int | IO[Any] | None,
    stdout: int | IO[Any] | None,
    stderr: int | IO[Any] | None,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
    text: bool,
) -> Popen:
    """Starts a program. A stream that is None is the caller's, DEVNULL nothing, PIPE one of the result's."""
    streams = _Streams(text)
    try:
        given = {
            "stdin": streams.descriptor("stdin", stdin),
            "stdout": (output := streams.descriptor("stdout", stdout)),
            "stderr": output if stderr == STDOUT else streams.descriptor("stderr", stderr),
        }
        argv = [os.fspath(part) for part in args]
        directory = os.fspath(cwd) if cwd is not None else str(Path.cwd())
        remote = client.popen(node, argv, env=env, cwd=directory, **given)
    except BaseException:
        streams.close()
        raise
    finally:
        streams.close_theirs()
    return Popen(args, remote, streams.ours)


class _Streams:
    """The standard streams of a program that is to start: our ends of pipes, and the descriptors that are passed."""

    def __init__(self, text: bool) -> None:
        self.ours: dict[str, IO[Any] | None] = {"stdin": None, "stdout": None, "stderr": None}
        self._mode = "" if text else "b"
        self._theirs: list[int] = []

    def descriptor(self, name: str, stream: int | IO[Any] | None) -> int:
        """What the program gets."""
        match stream:
            case None:
                return list(self.ours).index(name)
            case subprocess.PIPE:
                reader, writer = os.pipe()
                mine, theirs, mode = (writer, reader, "w") if name == "stdin" else (reader, writer, "r")
                self.ours[name] = os.fdopen(mine, mode + self._mode)
                self._theirs.append(theirs)
                return theirs
            case subprocess.DEVNULL:
                self._theirs.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
                return self._theirs[-1]
            case int():
                return stream
        return stream.fileno()

    def close_theirs(self) -> None:
        """Nobody here needs what the program has."""
        for fd in self._theirs:
            os.close(fd)

    def close(self) -> None:
        """No program came of it."""
        for pipe in self.ours.values():
            if pipe is not None:
                pipe.close()
