"""The `json` parser: one document, read when the program has ended."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from patchbay_runner.model.steps import Capture, Stream
from patchbay_runner.parsers.ndjson import selector
from patchbay_runner.parsers.values import as_text

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_POSITION = re.compile(r"\s*\(byte (\d+)\)$")


class DocumentError(ValueError):
    """A document does not parse. `offset` counts bytes from 0, `line` from 1; `text` is that line, cut to 200 bytes."""

    def __init__(self, reason: str, offset: int, line: int, text: str) -> None:
        self.reason = reason
        self.offset = offset
        self.line = line
        self.text = text
        super().__init__(f"not a JSON document: {reason} at byte {offset}, line {line}")


def document_captures(captures: Sequence[Capture], stream: Stream) -> list[Capture]:
    """The captures that a `json` step takes from the document on `stream`."""
    return [capture for capture in captures if capture.pipe == stream and capture.pick is not None]


def parse_document(data: bytes, captures: Sequence[Capture]) -> dict[str, list[str]]:
    """What `captures` pick from the document `data`. Raises DocumentError when it is not one JSON document."""
    if data.startswith(_BYTE_ORDER_MARK):
        # Blanks of the same length keep the byte numbers of errors true.
        data = data.replace(_BYTE_ORDER_MARK, b"   ", 1)
    value = _decode(data)
    values = {capture.name: [as_text(found) for found in selector(capture)(value)] for capture in captures}
    return {name: found for name, found in values.items() if found}


def _decode(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except UnicodeDecodeError:
        return _decode(data.decode("utf-8", "replace").encode())
    except RecursionError as error:
        raise _error(data, "nested too deeply", 0) from error
    except msgspec.DecodeError as error:
        reason = str(error)
        found = _POSITION.search(reason)
        # msgspec names no position when the input ends too early: then it is the end of what is there.
        position = int(found[1]) if found else len(data.rstrip())
        raise _error(data, _plain_reason(reason, data), position) from error


def _plain_reason(reason: str, data: bytes) -> str:
    if not data.strip():
        return "no output"
    reason = _POSITION.sub("", reason).removeprefix("JSON is malformed: ")
    return "the document ends too early" if reason == "Input data was truncated" else reason


def _error(data: bytes, reason: str, offset: int) -> DocumentError:
    start = data.rfind(b"\n", 0, offset) + 1
    text = data[start : start + 200].split(b"\n", 1)[0].decode("utf-8", "replace")
    return DocumentError(reason, offset, data.count(b"\n", 0, offset) + 1, text)
