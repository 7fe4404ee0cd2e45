"""A program's output on its way to the logs: straight to its file, or through a pipe when captures read it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

from patchbay_runner.executor.nodelogs import NodeLogSource, write_all
from patchbay_runner.parsers import StreamParser, Values

# The kernel's default for fs.pipe-max-size: as much as an ordinary user may ask for.
PIPE_BYTES = 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
# How much of a long-lived program's file is copied at a time while other steps wait for the loop.
_POLL_BYTES = 8 * _CHUNK_BYTES


class Listener(Protocol):
    """Whom a pumped output tells about what it reads."""

    def captured(self, values: Values) -> None:
        """The parser found values."""

    def stream_ended(self) -> None:
        """Nobody holds the other end of the pipe any more."""


class DirectOutput:
    """The program writes to its log file itself; what is new there is copied to the node's log now and then."""

    def __init__(self, descriptor: int, path: Path, start: int, node_log: NodeLogSource) -> None:
        self.child_end = descriptor
        self.is_open = False
        # Text, because every program's end looks at it, and the methods of Path cost more than the system call.
        self._path = str(path)
        self._node_log = node_log
        self._offset = start

    @property
    def is_empty(self) -> bool:
        """True when nothing has been seen in the file so far."""
        return self._offset == 0

    def started(self, listener: Listener) -> None:
        """The program has its end; ours is no longer needed."""
        os.close(self.child_end)

    def abandon(self) -> None:
        """The program could not be started."""
        os.close(self.child_end)

    def poll(self) -> None:
        """Copies some of what is new."""
        self._copy(_POLL_BYTES)

    def drain(self) -> None:
        """Copies all that is new."""
        self._copy(None)
        self._node_log.release()

    def close(self) -> None:
        """Copies what children of the ended program wrote since."""
        self.drain()

    def _copy(self, limit: int | None) -> None:
        try:
            size = os.stat(self._path).st_size  # noqa: PTH116 - as above
        except FileNotFoundError:
            # A program may remove its own.
            return
        # A program can truncate its own output (`> /dev/stdout` in a shell does).
        self._offset = min(self._offset, size)
        if size == self._offset:
            return
        end = size if limit is None else min(size, self._offset + limit)
        with Path(self._path).open("rb", buffering=0) as file:
            file.seek(self._offset)
            while self._offset < end and (chunk := file.read(min(end - self._offset, _CHUNK_BYTES))):
                self._node_log.write(chunk)
                self._offset += len(chunk)


class PumpedOutput:
    """A pipe: each chunk goes to the step's log, to the node's log, and then to the parser."""

    def __init__(self, log: int, node_log: NodeLogSource, parser: StreamParser) -> None:
        self._read_end, self.child_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        # Refused when the user's pipes hold too much already (pipe(7)): a smaller pipe is only slower.
        with contextlib.suppress(PermissionError):
            fcntl.fcntl(self.child_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.is_open = True
        self._log = log
        self._node_log = node_log
        self._parser = parser
        self._listener: Listener | None = None

    @property
    def cut_lines(self) -> int:
        return self._parser.cut_lines

    def started(self, listener: Listener) -> None:
        """The program has its end; read what it writes from now on."""
        self._listener = listener
        os.close(self.child_end)
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def abandon(self) -> None:
        """The program could not be started."""
        os.close(self.child_end)
        self._let_go()

    def poll(self) -> None:
        """Nothing to do: the pipe is read as it fills."""

    def drain(self) -> None:
        """Reads what the ended program left in the pipe, and no more: a child of it may go on writing for ever."""
        left = fcntl.fcntl(self._read_end, fcntl.F_GETPIPE_SZ) if self.is_open else 0
        while left > 0 and self.is_open:
            count = self._read()
            if count == 0:
                break
            left -= count
        self._node_log.release()

    def close(self) -> None:
        """Reads what is there and stops reading; whoever still writes gets SIGPIPE."""
        self.drain()
        if self.is_open:
            self._let_go()

    def _let_go(self) -> None:
        self.is_open = False
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self._log)
        self._tell(self._parser.finish())
        self._node_log.release()

    def _read(self) -> int:
        try:
            chunk = os.read(self._read_end, _CHUNK_BYTES)
        except BlockingIOError:
            return 0
        if not chunk:
            self._let_go()
            if self._listener is not None:
                self._listener.stream_ended()
            return 0
        write_all(self._log, chunk)
        self._node_log.write(chunk)
        self._tell(self._parser.feed(chunk))
        return len(chunk)

    def _tell(self, values: Values) -> None:
        if values and self._listener is not None:
            self._listener.captured(values)


Output = DirectOutput | PumpedOutput
