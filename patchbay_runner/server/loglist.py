"""Which files of a sim are logs: what its record names, and what programs have written beside."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from patchbay_runner.results.documents import Log as RecordedLog
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import is_served_name, open_file_at, read_at, read_document
from patchbay_runner.server.shapes import Log

_SNIFFED_BYTES = 16 << 10
_MOST_LOGS = 20_000
_DEEPEST = 50
_SUFFIXES = (".log", ".jsonl", ".ndjson", ".qlog", ".sqlog", ".txt")
# The record's own documents, which have places of their own.
_DOCUMENTS = {"events.jsonl", "metrics.jsonl", "traceback.txt"}
# Files of records as test suites write them: device.client.fetch.stdout.log, router.home.tracing.jsonl
_FLAT_NAME = re.compile(
    r"(?:device|router|ix)\.(?:(?P<logger>.+)\.(?:tracing|events)|"
    r"(?P<node>[^.]+)\.(?:(?P<step>.+)\.)?(?P<stream>stdout|stderr))\.\w+"
)


class _Named(NamedTuple):
    node: str | None
    step: str | None
    stream: str | None


class _Recorded(msgspec.Struct, frozen=True):
    logs: tuple[RecordedLog, ...] = ()


def list_logs(directory: int) -> tuple[Log, ...]:
    """The logs of the sim in an open directory, in order of node, step and stream."""
    recorded = {
        log.path: _Named(log.node, log.step, log.kind if log.kind in ("stdout", "stderr") else None)
        for log in _recorded(directory)
    }
    found = []
    for top, names, descriptor in _directories(directory):
        for name in sorted(names):
            path = f"{top}/{name}" if top else name
            if path in recorded or _is_log(path, name):
                log = _log(descriptor, name, path, recorded.get(path) or _by_name(path, name))
                if log:
                    found.append(log)
        if len(found) >= _MOST_LOGS:
            break
    return tuple(sorted(found, key=_order))


def _recorded(directory: int) -> tuple[RecordedLog, ...]:
    document = read_document(directory, "sim.json")
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(document, type=_Recorded).logs if document else ()
    return ()


def _directories(directory: int) -> Iterator[tuple[str, list[str], int]]:
    """The sim's own directory, and what is below `nodes`."""
    for top, below, names, descriptor in os.fwalk(".", dir_fd=directory):
        place = top.removeprefix(".").removeprefix("/")
        is_deep = place.count("/") >= _DEEPEST
        below[:] = sorted(n for n in below if is_served_name(n) and (place or n == "nodes")) if not is_deep else []
        yield place, [name for name in names if is_served_name(name)], descriptor


def _is_log(path: str, name: str) -> bool:
    return name.endswith(_SUFFIXES) and path not in _DOCUMENTS


def _by_name(path: str, name: str) -> _Named:
    components = path.split("/")
    if components[0] == "nodes" and len(components) > 2:
        return _Named(components[1], None, None)
    found = _FLAT_NAME.fullmatch(name)
    if found is None:
        return _Named(None, None, None)
    return _Named(found["logger"] or found["node"], found["step"], found["stream"])


def _log(directory: int, name: str, path: str, named: _Named) -> Log | None:
    try:
        descriptor = open_file_at(directory, name)
    except Refusal:
        return None
    try:
        found = os.fstat(descriptor)
        beginning = read_at(descriptor, 0, _SNIFFED_BYTES)
    finally:
        os.close(descriptor)
    if b"\0" in beginning:
        return None  # no text
    return Log(
        path=path,
        node=named.node,
        step=named.step,
        stream=named.stream,
        format=_format(name, beginning),
        size=found.st_size,
        modified_us=found.st_mtime_ns // 1000,
    )


def _format(name: str, beginning: bytes) -> str:
    if not beginning:
        return "empty"
    if name.endswith((".qlog", ".sqlog")):
        return "qlog"
    first = next((line for line in beginning.split(b"\n") if line.strip()), b"")
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        msgspec.json.decode(first, type=dict[str, msgspec.Raw])
        return "jsonl"
    if len(first) == _SNIFFED_BYTES and first.startswith(b"{"):
        return "jsonl"  # whose first line is longer than what was read
    return "ansi" if b"\x1b[" in beginning else "text"


def _order(log: Log) -> tuple[str, str, str, bool, str]:
    """Of a lab's record, what was logged comes before the events, which are among it."""
    return log.node or "", log.step or "", log.stream or "", log.path.endswith(".events.jsonl"), log.path
