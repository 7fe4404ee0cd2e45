"""Downloads: checked with the server or by a hash, resumed when interrupted, answered by the cache when offline."""

from __future__ import annotations

import os
import time
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from patchbay_runner.binaries.cache import Cache, key_of, sha256_of, write_whole
from patchbay_runner.binaries.connection import Connection
from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import BinaryError

if TYPE_CHECKING:
    import httpx

# An attempt that got nothing new counts; one that got further does not.
_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.3
_CONNECT_TIMEOUT_S = 10.0
_SILENCE_S = 30.0
_OK, _PARTIAL, _NOT_MODIFIED, _TIMEOUT, _RANGE_REFUSED, _TOO_MANY, _SERVER_ERROR = 200, 206, 304, 408, 416, 429, 500


class Fetched(msgspec.Struct, frozen=True):
    """A file of the cache, and its hash."""

    path: Path
    sha256: str


class _Entry(msgspec.Struct, frozen=True):
    """What an address gave."""

    url: str
    sha256: str
    etag: str = ""
    last_modified: str = ""
    fetched_s: float = 0.0


class _Away(Exception):
    """The server does not answer, or not to the end; it may later."""


class _Again(Exception):
    """What is there of the download is of no use: begin anew."""


def open_client() -> httpx.Client:
    """What downloads share, in all threads. With it comes everything that they would import or read later."""
    import encodings.idna  # noqa: F401, PLC0415 - what the first look-up of a host name imports

    import httpx  # noqa: PLC0415 - slow to import, and most runs download nothing

    context = httpx.create_ssl_context()
    context.load_default_certs()  # those of the system too: companies have their own
    timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_TIMEOUT_S)
    # Each download has a connection of its own, which it may cut.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.Client(follow_redirects=True, timeout=timeout, verify=context, limits=limits)


def fetch(
    url: str, sha256: str | None, cache: Cache, task: Task, client: httpx.Client, *, since_s: float | None = None
) -> Fetched:
    """The file at `url`. Raises BinaryError when it cannot be had or is not what `sha256` says.

    What somebody has fetched after `since_s`, a time of day, is not asked for again; by default, after this call.
    """
    known = cache.content(sha256) if sha256 else None
    if sha256 and known:
        return Fetched(known, sha256)
    asked_s = time.time() if since_s is None else since_s
    with cache.lock(f"download-{key_of(url)}", task):
        download = _Download(url, sha256, cache, task)
        entry = download.entry
        if entry and download.cached and entry.fetched_s >= asked_s:  # another run has just made it
            return download.cached
        return download.run(client)


def shown_url(url: str) -> str:
    """`url` without a password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"***@{parts.netloc.rpartition('@')[2]}")) if "@" in parts.netloc else url


class _Download:
    """One address, whose lock is held."""

    def __init__(self, url: str, sha256: str | None, cache: Cache, task: Task) -> None:
        self._url = url
        self._sha256 = sha256
        self._cache = cache
        self._task = task
        directory = cache.directory("downloads")
        self._record = directory / f"{key_of(url)}.json"
        self._part = directory / f"{key_of(url)}.part"
        self._validator = directory / f"{key_of(url)}.validator"
        self.entry = self._read_entry()
        found = cache.content(self.entry.sha256) if self.entry else None
        self.cached = Fetched(found, self.entry.sha256) if self.entry and found else None
        if self.cached:
            os.utime(self._record)  # which lives as long as the file that it tells of

    def run(self, client: httpx.Client) -> Fetched:
        import httpx  # noqa: PLC0415 - imported by now

        try:
            return self._persist(client)
        except _Away as error:
            return self._answer_from_cache(str(error), error)
        except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
            raise BinaryError(f"{shown_url(self._url)} cannot be fetched: {error}") from error

    def _persist(self, client: httpx.Client) -> Fetched:
        """Tries again, from where the last attempt ended."""
        failures, pause_s = 0, _FIRST_PAUSE_S
        while True:
            before = self._part_size()
            try:
                return self._attempt(client)
            except _Again:
                self._forget_part()
                failures += 1
                if failures == _ATTEMPTS:
                    raise BinaryError(f"{shown_url(self._url)} does not send the whole file") from None
            except _Away:
                failures = 1 if self._part_size() > before else failures + 1
                if failures == _ATTEMPTS or (failures > 1 and self.cached):
                    raise
                self._task.pause(pause_s)
                pause_s *= 2 if failures > 1 else 1

    def _attempt(self, client: httpx.Client) -> Fetched:
        import httpx  # noqa: PLC0415 - imported by now

        try:
            with (
                closing(Connection()) as connection,
                self._task.waking(connection.cut),
                client.stream(
                    "GET", self._url, headers=self._headers(), extensions={"trace": connection.trace}
                ) as response,
            ):
                return self._take(response)
        except (httpx.TransportError, httpx.StreamError) as error:
            if isinstance(error, httpx.UnsupportedProtocol):
                raise
            raise _Away(str(error) or type(error).__name__) from error

    def _headers(self) -> dict[str, str]:
        # Compressed on the way, the ranges of a resumed download would mean something else.
        headers = {"Accept-Encoding": "identity"}
        size = self._part_size()
        if size:
            return headers | {"Range": f"bytes={size}-", "If-Range": self._validator.read_text()}
        if self.cached and self.entry and not self._sha256:
            if self.entry.etag:
                headers["If-None-Match"] = self.entry.etag
            if self.entry.last_modified:
                headers["If-Modified-Since"] = self.entry.last_modified
        return headers

    def _take(self, response: httpx.Response) -> Fetched:
        status = response.status_code
        if status == _NOT_MODIFIED and self.cached:
            return self.cached
        if status == _RANGE_REFUSED and self._part_size():
            raise _Again
        if status in (_TIMEOUT, _TOO_MANY) or status >= _SERVER_ERROR:
            raise _Away(f"it answers {status} {response.reason_phrase}")
        if status not in (_OK, _PARTIAL):
            answered = f"{status} {response.reason_phrase}".strip()
            raise BinaryError(f"{shown_url(self._url)} answers {answered}", "a file to download")
        start = self._part_size() if status == _PARTIAL else 0
        if status == _PARTIAL and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _Again
        self._receive(response, start)
        return self._finish(response, was_resumed=start > 0)

    def _receive(self, response: httpx.Response, start: int) -> None:
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        validator = _strong_validator(response)
        if start == 0:
            self._forget_part()
            if validator:  # without one, nothing proves that a rest belongs to this beginning
                write_whole(self._validator, validator.encode())
        text, done_text = f"downloading {shown_url(self._url)}", f"downloaded {shown_url(self._url)}"
        done = start
        with self._task.shown(text, done_text, total, start), self._part.open("ab") as file:
            for chunk in response.iter_raw():  # as they come: to gather larger ones would lose some at a break
                self._task.check()
                file.write(chunk)
                done += len(chunk)
                self._task.advanced(done)
        if total is not None and done != total:
            raise _Away(f"it sends {done} of {total} bytes")

    def _finish(self, response: httpx.Response, *, was_resumed: bool) -> Fetched:
        sha256 = sha256_of(self._part)
        if self._sha256 and sha256 != self._sha256:
            if was_resumed:  # a server that mixes two versions; the whole file decides
                raise _Again
            self._forget_part()
            raise BinaryError(f"the SHA-256 of {shown_url(self._url)} is {sha256}", self._sha256)
        path = self._cache.keep_content(self._part, sha256)
        headers = response.headers
        entry = _Entry(self._url, sha256, headers.get("ETag", ""), headers.get("Last-Modified", ""), time.time())
        write_whole(self._record, msgspec.json.encode(entry))
        self._validator.unlink(missing_ok=True)
        return Fetched(path, sha256)

    def _answer_from_cache(self, reason: str, error: _Away) -> Fetched:
        if self.cached is None or self.entry is None or self._sha256:
            raise BinaryError(f"{shown_url(self._url)} cannot be reached: {reason}", "a server that answers") from error
        date = formatdate(self.entry.fetched_s, localtime=True)
        self._task.note(
            f"{shown_url(self._url)} cannot be reached ({reason}); what it gave on {date} is used, from the cache"
        )
        return self.cached

    def _part_size(self) -> int:
        """How much is there that can be gone on from."""
        return self._part.stat().st_size if self._part.exists() and self._validator.exists() else 0

    def _forget_part(self) -> None:
        self._validator.unlink(missing_ok=True)
        self._part.unlink(missing_ok=True)

    def _read_entry(self) -> _Entry | None:
        try:
            entry = msgspec.json.decode(self._record.read_bytes(), type=_Entry)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return entry if entry.url == self._url else None


def _strong_validator(response: httpx.Response) -> str:
    """What If-Range may hold (RFC 9110, section 13.1.5): a strong entity tag, else the date."""
    etag = str(response.headers.get("ETag", ""))
    if etag and not etag.startswith("W/"):
        return etag
    return str(response.headers.get("Last-Modified", ""))
