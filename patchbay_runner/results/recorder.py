"""The recorder of the sandbox side: logs and files go straight to the sim's directory, the rest to the parent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.model.links import LinkReport
from patchbay_runner.model.recording import CaptureValue, Failure, StepResult
from patchbay_runner.model.steps import Stream
from patchbay_runner.results import messages
from patchbay_runner.results.files import Owner, make_directories, open_append, write_atomically
from patchbay_runner.results.names import UniqueNames
from patchbay_runner.results.outbox import Outbox

# A parent that reads nothing for this long is stuck or gone; the sandbox may end without it.
_FINAL_PATIENCE_S = 30.0


class SandboxRecorder:
    """Implements `model.recording.Recorder`. Belongs to one thread."""

    def __init__(self, directory: Path, pipe_fd: int, owner: Owner | None = None) -> None:
        self._directory = directory
        self._owner = owner
        self._outbox = Outbox(pipe_fd)
        self._encoder = msgspec.json.Encoder()
        self._names: defaultdict[Path, UniqueNames] = defaultdict(UniqueNames)
        self._node_directories: dict[str, Path] = {}
        self._log_paths: dict[tuple[str, str, Stream], Path] = {}
        self._announced: set[tuple[str, str, Stream]] = set()
        self._made: set[str] = set()
        self._changed: dict[str, CaptureValue] = {}
        self._results: tuple[StepResult, ...] | None = None
        self._network: messages.Network | None = None
        self._links: messages.Links | None = None
        self._sent_counts: dict[str, int] = {}
        self._dropped = 0
        self._is_finished = False

    def emit(self, kind: str, /, **fields: Any) -> None:
        """Adds an event. A parent that reads too slowly loses events before it loses anything else."""
        if self._outbox.is_full:
            self._dropped += 1
            return
        self._send(messages.Event(messages.event_time(), kind, fields))

    def open_log(self, node: str, step: str, stream: Stream) -> int:
        """A descriptor of the step's log; the caller closes it."""
        return self._open(node, step, stream)

    def open_node_log(self, node: str, stream: Stream) -> int:
        """A descriptor of the node's log; the caller closes it."""
        return self._open(node, "", stream)

    def log_path(self, node: str, step: str, stream: Stream) -> Path:
        """Where `open_log` writes."""
        path = self._log_paths.get((node, step, stream))
        if path is None:
            directory = self._node_directory(node)
            stem = f"{self._names[directory].file_of(step)}.{stream}" if step else stream
            path = self._log_paths[node, step, stream] = directory / f"{stem}.log"
        return path

    def write_file(self, relative: str, content: bytes, mode: int = 0o644) -> Path:
        """Writes a file below the sim's directory. Raises ValueError for a path that leads out of it."""
        parts = Path(relative).parts
        if not parts or Path(relative).is_absolute() or ".." in parts:
            raise ValueError(f"{relative!r} does not stay below the sim's directory")
        path = self._below(*parts)
        make_directories(path.parent, self._owner)
        write_atomically(path, content, self._owner, mode)
        return path

    def captures(self, values: dict[str, CaptureValue]) -> None:
        """Reports captures that changed."""
        self._changed |= values
        self._send_state()

    def results(self, results: Sequence[StepResult]) -> None:
        """Reports all normalised results so far."""
        self._results = tuple(results)
        self._send_state()

    def network(self, state: dict[str, Any]) -> None:
        """Reports the network as it is now."""
        self._network = messages.Network(state)
        self._send_state()

    def links(self, report: LinkReport, interval_s: float) -> None:
        """Reports what has become of the packets of impaired links so far; they were last counted `interval_s` ago."""
        if self._links is not None:
            interval_s += self._links.interval_s
        self._links = messages.Links(messages.event_time(), interval_s, report)
        self._send_state()

    def finished(self, failure: Failure | None) -> None:
        """Sends what is left and then the verdict, and waits until the parent took it. The first call counts."""
        if self._is_finished:
            return
        self._is_finished = True
        self._outbox.drain(_FINAL_PATIENCE_S)
        self._send_state()
        self._send(messages.Finished(failure))
        self._outbox.drain(_FINAL_PATIENCE_S)

    def _node_directory(self, node: str) -> Path:
        directory = self._node_directories.get(node)
        if directory is None:
            directory = self._node_directories[node] = self._below("nodes", node)
        return directory

    def _below(self, *parts: str) -> Path:
        """A path in the sim's directory whose parts are safe and differ wherever the names they stand for differ."""
        path = self._directory
        for part in parts:
            path /= self._names[path].file_of(part)
        return path

    def _open(self, node: str, step: str, stream: Stream) -> int:
        path = self.log_path(node, step, stream)
        if (node, step, stream) not in self._announced:
            self._announced.add((node, step, stream))
            if node not in self._made:
                make_directories(path.parent, self._owner)
                self._made.add(node)
            relative = path.relative_to(self._directory)
            self._send(messages.LogOpened(node, step, stream, str(relative)))
        return open_append(path, self._owner)

    def _send_state(self) -> None:
        """What is replaced by newer waits here, not in the outbox, while the parent is behind."""
        if self._outbox.is_full:
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._send(messages.Dropped(dropped))
        if self._changed:
            changed, self._changed = self._changed, {}
            self._send(messages.Captures({key: self._growth(key, value) for key, value in changed.items()}))
        if self._results is not None:
            results, self._results = self._results, None
            self._send(messages.Results(results))
        if self._network is not None:
            network, self._network = self._network, None
            self._send(network)
        if self._links is not None:
            links, self._links = self._links, None
            self._send(links)

    def _growth(self, key: str, capture: CaptureValue) -> messages.CaptureGrowth:
        new = capture.count - self._sent_counts.get(key, 0)
        self._sent_counts[key] = capture.count
        added = capture.history[max(0, len(capture.history) - new) :]
        return messages.CaptureGrowth(capture.value, added, capture.count)

    def _send(self, message: messages.AnyMessage) -> None:
        self._outbox.send(self._encoder.encode(message) + b"\n")
