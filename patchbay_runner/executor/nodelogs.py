"""The logs of a node: what all its programs printed, in order, lines kept whole."""

from __future__ import annotations

import os

from patchbay_runner.errors import StepError
from patchbay_runner.model.recording import Recorder
from patchbay_runner.model.steps import Stream

# A line longer than this is passed on in pieces, so that it does not fill the memory.
PARTIAL_LIMIT = 64 * 1024


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes everything. Raises StepError when the disk refuses."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise StepError(f"cannot write a log: {error.strerror}") from error


class _NodeLog:
    """One file. It is open while a source holds it."""

    def __init__(self, recorder: Recorder, node: str, stream: Stream) -> None:
        self._recorder = recorder
        self._node = node
        self._stream: Stream = stream
        self._descriptor = -1
        self._holders = 0
        self._unterminated: NodeLogSource | None = None

    def write(self, source: NodeLogSource, data: bytes | memoryview) -> None:
        if self._descriptor < 0:
            self._descriptor = self._recorder.open_node_log(self._node, self._stream)
        if self._unterminated not in (None, source):
            write_all(self._descriptor, b"\n")
        write_all(self._descriptor, data)
        self._unterminated = None if data[-1] in b"\n" else source

    def hold(self) -> None:
        self._holders += 1

    def release(self) -> None:
        self._holders -= 1
        if self._holders == 0 and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class NodeLogSource:
    """One program's part of a node's log."""

    def __init__(self, log: _NodeLog) -> None:
        self._log = log
        self._partial = b""
        self._holds_log = False

    def write(self, chunk: bytes) -> None:
        """Passes on the whole lines of `chunk` and keeps the rest until its line ends."""
        if not self._holds_log:
            self._holds_log = True
            self._log.hold()
        end = chunk.rfind(b"\n") + 1
        if end:
            self._flush()
            self._log.write(self, memoryview(chunk)[:end])
        self._partial += chunk[end:] if end else chunk
        if len(self._partial) > PARTIAL_LIMIT:
            self._flush()

    def release(self) -> None:
        """Passes on a last line without a newline and lets the file be closed; more may be written later."""
        self._flush()
        if self._holds_log:
            self._holds_log = False
            self._log.release()

    def _flush(self) -> None:
        if self._partial:
            self._log.write(self, self._partial)
            self._partial = b""


class NodeLogs:
    """The logs of all nodes."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._logs: dict[tuple[str, Stream], _NodeLog] = {}

    def source(self, node: str, stream: Stream) -> NodeLogSource:
        """A new program's access to `nodes/<node>/<stream>.log`; its owner closes it."""
        key = (node, stream)
        log = self._logs.get(key)
        if log is None:
            log = self._logs[key] = _NodeLog(self._recorder, node, stream)
        return NodeLogSource(log)
