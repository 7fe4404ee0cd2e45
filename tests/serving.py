"""A real HTTP server for downloads, with the faults that real ones have."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(slots=True)
class Served:
    """What a path gives. `cuts` says after how many bytes of the body each of the next answers breaks off."""

    body: bytes = b""
    status: int = 200
    location: str = ""
    has_etag: bool = True
    has_ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    chunk: int = 1 << 16
    go_on: threading.Event | None = None

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:12]}"'


@dataclass(slots=True)
class Request:
    """What was asked, and how many bytes of the body were sent."""

    path: str
    headers: dict[str, str]
    sent: int = 0


@dataclass(slots=True)
class Site:
    """The pages of a server, and what was asked of it."""

    url: str
    pages: dict[str, Served] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    active: int = 0

    def put(self, path: str, body: bytes = b"", **options: Any) -> str:
        """Serves `body` and returns its address."""
        self.pages[path] = Served(body, **options)
        return self.url + path

    @property
    def sent(self) -> list[int]:
        return [request.sent for request in self.requests]


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        page = self.site.pages.get(self.path) or Served(status=404)
        status, start, body = self._answer(page)
        # Noted before it is sent: whoever has the whole answer finds the whole note.
        request = Request(self.path, dict(self.headers))
        self.site.requests.append(request)
        self._send_head(page, status, start, len(page.body))
        end = min(len(body), page.cuts.pop(0)) if page.cuts else len(body)
        for position in range(0, end, page.chunk):
            part = body[position : min(end, position + page.chunk)]
            request.sent += len(part)
            self.wfile.write(part)
            self.wfile.flush()
            if page.go_on:
                self.site.active += 1
                page.go_on.wait(30)

    def _answer(self, page: Served) -> tuple[int, int, bytes]:
        """Status, where the body starts, and what is sent of it."""
        if page.status != 200:
            return page.status, 0, page.body
        if page.has_etag and self.headers.get("If-None-Match") == page.etag:
            return 304, 0, b""
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if not found or not page.has_ranges or self.headers.get("If-Range") not in (None, page.etag):
            return 200, 0, page.body
        start = int(found[1])
        return (206, start, page.body[start:]) if start < len(page.body) else (416, 0, b"")

    def _send_head(self, page: Served, status: int, start: int, size: int) -> None:
        self.send_response(status)
        if status in (200, 206):
            self.send_header("Content-Length", str(size - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if page.has_etag:
            self.send_header("ETag", page.etag)
        if page.location:
            self.send_header("Location", page.location)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[Site]:
    """A server on this machine until the block ends."""
    site = Site("")
    handler = type("Handler", (_Handler,), {"site": site})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
