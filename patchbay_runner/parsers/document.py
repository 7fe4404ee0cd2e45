"""The `json` parser: one document, read when the program has ended."""

from __future__ import annotations

import json
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
        try:
            return msgspec.json.decode(data)
        except UnicodeDecodeError:
            return msgspec.json.decode(data.decode("utf-8", "replace"))
    except RecursionError as error:
        raise _error(data, "nested too deeply", 0) from error
    except msgspec.DecodeError as error:
        raise _located(data, str(error)) from error


def _located(data: bytes, reason: str) -> DocumentError:
    """The same error with its place, which the standard library tells exactly and msgspec does not."""
    end = len(data.rstrip())
    if end == 0:
        return _error(data, "no output", 0)
    # Every byte that is not UTF-8 stays one character, so that counting back gives bytes again.
    text = data.decode("utf-8", "surrogateescape")
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode("utf-8", "surrogateescape"))
        if offset >= end:
            return _error(data, "the document ends too early", end)
        return _error(data, error.msg[0].lower() + error.msg[1:].removesuffix(" at"), offset)
    # NaN, a number beyond all bounds, half of a surrogate pair: the standard library takes what RFC 8259 does not.
    found = _POSITION.search(reason)
    return _error(data, _POSITION.sub("", reason), min(int(found[1]), end) if found else end)


def _error(data: bytes, reason: str, offset: int) -> DocumentError:
    start = data.rfind(b"\n", 0, offset) + 1
    text = data[start : start + 200].split(b"\n", 1)[0].decode("utf-8", "replace")
    return DocumentError(reason, offset, data.count(b"\n", 0, offset) + 1, text)
