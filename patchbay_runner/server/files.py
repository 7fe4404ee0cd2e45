"""Files as they are: listed, and sent with ranges. Nothing in them runs in a browser."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import AsyncIterator
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import is_served_name, stamp_at, stamp_of
from patchbay_runner.server.shapes import File, Files

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import Receive, Scope, Send

_MOST_FILES = 20_000
_DEEPEST = 50
_PIECE_BYTES = 256 << 10
_TEXT = "text/plain; charset=utf-8"

# By a file's suffix; where a browser may show what it is, it does nothing else with it.
_SHOWN_TYPES = {
    ".log": _TEXT,
    ".txt": _TEXT,
    ".md": _TEXT,
    ".toml": _TEXT,
    ".conf": _TEXT,
    ".csv": _TEXT,
    ".pem": _TEXT,
    ".crt": _TEXT,
    ".key": _TEXT,
    ".json": "application/json",
    ".jsonl": _TEXT,
    ".ndjson": _TEXT,
    ".qlog": _TEXT,
    ".sqlog": _TEXT,
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
_OTHER_TYPES = {
    ".pcap": "application/vnd.tcpdump.pcap",
    ".pcapng": "application/vnd.tcpdump.pcap",
    ".gz": "application/gzip",
}

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_MOST_DIGITS = 18


def type_of(name: str) -> tuple[str, bool]:
    """The media type of a file, and whether a browser may show it."""
    suffix = Path(name).suffix.lower()
    if suffix in _SHOWN_TYPES:
        return _SHOWN_TYPES[suffix], True
    return _OTHER_TYPES.get(suffix) or mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream", False


def list_files(directory: int) -> Files:
    """All regular files below an open directory, sorted."""
    found: list[File] = []
    for top, below, names, descriptor in os.fwalk(".", dir_fd=directory):
        place = top.removeprefix(".").removeprefix("/")
        is_deep = place.count("/") >= _DEEPEST
        below[:] = [] if is_deep else sorted(filter(is_served_name, below))
        for name in sorted(filter(is_served_name, names)):
            stamp = stamp_at(descriptor, name)
            if stamp is not None:
                path = f"{place}/{name}" if place else name
                found.append(File(path=path, size=stamp[2], modified_us=stamp[1] // 1000, type=type_of(name)[0]))
        if len(found) > _MOST_FILES:
            break
    found.sort(key=lambda file: file.path)
    return Files(files=tuple(found[:_MOST_FILES]), is_cut=len(found) > _MOST_FILES)


class OpenFile(Response):
    """An open file as a reply, which closes it."""

    def __init__(self, descriptor: int, name: str, headers: Headers, *, is_download: bool) -> None:
        self._descriptor = descriptor
        self._name = name
        self._request_headers = headers
        self._is_download = is_download
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        try:
            await self._reply(scope["method"] == "HEAD")(scope, receive, send)
        finally:
            os.close(self._descriptor)

    def _reply(self, is_head: bool) -> Response:
        found = os.fstat(self._descriptor)
        stamp = stamp_of(found)
        etag = f'"{stamp[0]:x}-{stamp[1]:x}-{stamp[2]:x}"'
        headers = self._reply_headers(etag, found.st_mtime)
        if etag_matches(self._request_headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        try:
            asked = self._asked_range(etag, found)
        except Refusal as refusal:
            size = {"Content-Range": f"bytes */{found.st_size}"}
            return Response(refusal.body, refusal.status, size, "application/json")
        start, end = asked or (0, found.st_size)
        headers["Content-Length"] = str(end - start)
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.st_size}"
        status = 206 if asked else 200
        return (
            Response(None, status, headers) if is_head else StreamingResponse(self._pieces(start, end), status, headers)
        )

    def _reply_headers(self, etag: str, modified_s: float) -> dict[str, str]:
        media_type, is_shown = type_of(self._name)
        place = "inline" if is_shown and not self._is_download else "attachment"
        return {
            "Content-Type": media_type,
            "Content-Disposition": f"{place}; filename*=UTF-8''{quote(self._name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-cache",
            "ETag": etag,
            "Last-Modified": formatdate(modified_s, usegmt=True),
        }

    def _asked_range(self, etag: str, found: os.stat_result) -> tuple[int, int] | None:
        """The bytes asked for, from and up to; None for all. Several ranges at once are answered by all."""
        match = _RANGE.fullmatch(self._request_headers.get("range", "").replace(" ", ""))
        if match is None or not _is_current(self._request_headers.get("if-range"), etag, found.st_mtime):
            return None
        first, last = match.groups()
        if not (first or last) or max(len(first), len(last)) > _MOST_DIGITS:
            return None
        if first:
            start, end = int(first), min(int(last) + 1, found.st_size) if last else found.st_size
            if last and int(last) < int(first):
                return None
        else:
            start, end = max(0, found.st_size - int(last)), found.st_size
        if start >= end:
            raise Refusal(416, f"the file has {found.st_size} bytes")
        return start, end

    async def _pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        while start < end:
            piece = await run_in_threadpool(os.pread, self._descriptor, min(_PIECE_BYTES, end - start), start)
            if not piece:
                raise OSError("the file became shorter while it was sent")  # which breaks the connection off
            start += len(piece)
            yield piece


def etag_matches(asked: str | None, etag: str) -> bool:
    """Whether If-None-Match names what is there."""
    return asked is not None and (
        asked.strip() == "*" or etag in [each.strip().removeprefix("W/") for each in asked.split(",")]
    )


def _is_current(asked: str | None, etag: str, modified_s: float) -> bool:
    """Whether If-Range, if there is one, names what is there."""
    if asked is None:
        return True
    if asked.startswith('"'):
        return asked == etag
    try:
        return parsedate_to_datetime(asked).timestamp() == int(modified_s)
    except (ValueError, OverflowError):
        return False
