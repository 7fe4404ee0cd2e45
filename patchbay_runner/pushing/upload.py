"""`POST /api/push/{project}`, tried again while the server cannot be had."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import msgspec

from patchbay_runner.errors import PushError

if TYPE_CHECKING:
    import httpx

_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE_S = 60.0
_CONNECT_TIMEOUT_S = 10.0
# A server that has everything still brings it to its disk before it answers.
_ANSWER_TIMEOUT_S = 300.0
# A disk that is full now will be so in a moment.
_FINAL = (HTTPStatus.INSUFFICIENT_STORAGE, HTTPStatus.NOT_IMPLEMENTED)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_LARGEST_ANSWER_BYTES = 1 << 16
_SHOWN_ANSWER = 300


class Target(msgspec.Struct, frozen=True):
    """The server, as people name it, and what they show to it."""

    url: str
    project: str
    api_key: str


class Pushed(msgspec.Struct, frozen=True):
    """What the server answers: names of the run and of the group that it stands in."""

    run: str
    invocation: str


class _Away(Exception):
    """The server does not answer, or says that it may do so later."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        super().__init__(message)


def server_url(text: str) -> str:
    """`text` without a slash at its end. Raises ValueError when it is no address of a web server."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{text!r} is no address of a server")
    _ = parts.port  # raises ValueError
    return text.strip().rstrip("/")


def upload(
    target: Target,
    pack: Callable[[], Iterator[bytes]],
    note: Callable[[str], None],
    pauses_s: tuple[float, ...] = _PAUSES_S,
) -> Pushed:
    """Sends what `pack` makes; anew for every attempt. `note` is told why there is another one.

    Raises PushError when the server refuses, or cannot be had in the end.
    """
    push_id = str(uuid4())  # the same for all attempts: an answer that is lost makes no second run
    with _client() as client:
        for pause_s in pauses_s:
            try:
                return _attempt(client, target, pack(), push_id)
            except _Away as error:
                pause_s_asked = min(max(pause_s, error.pause_s), _LONGEST_PAUSE_S)
                note(f"{target.url}: {error}; trying again in {pause_s_asked:.0f} s")
                time.sleep(pause_s_asked)
        try:
            return _attempt(client, target, pack(), push_id)
        except _Away as error:
            raise PushError(f"{target.url}: {error}; given up after {len(pauses_s) + 1} attempts") from error


def _client() -> httpx.Client:
    import httpx  # noqa: PLC0415 - slow to import

    context = httpx.create_ssl_context()
    context.load_default_certs()  # those of the system too: companies have their own
    assert isinstance(context, ssl.SSLContext)
    return httpx.Client(timeout=httpx.Timeout(_ANSWER_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S), verify=context)


def _attempt(client: httpx.Client, target: Target, body: Iterator[bytes], push_id: str) -> Pushed:
    import httpx  # noqa: PLC0415 - imported by now

    headers = {
        "Authorization": f"Bearer {target.api_key}",
        "Content-Type": "application/gzip",
        "Idempotency-Key": push_id,
    }
    url = f"{target.url}/api/push/{target.project}"
    try:
        with client.stream("POST", url, content=body, headers=headers) as response:
            content = b"".join(_bounded(response))
    except httpx.TransportError as error:
        if distrust := _distrust(error):
            raise PushError(f"{target.url}: {distrust}") from error
        raise _Away(str(error) or type(error).__name__) from error
    return _outcome(response, content)


def _distrust(error: BaseException) -> str:
    """What is wrong with the server's certificate, if that is it: tomorrow it will be no better."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not to be trusted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return ""


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        yield chunk
        if size > _LARGEST_ANSWER_BYTES:
            return


def _outcome(response: httpx.Response, content: bytes) -> Pushed:
    status = response.status_code
    answered = f"it answers {status} {response.reason_phrase}".strip()
    explained = f"{answered}: {reason}" if (reason := _reason(content)) else answered
    if status in _TRANSIENT or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _FINAL):
        retry_after = response.headers.get("Retry-After", "")
        raise _Away(explained, float(retry_after) if retry_after.isdecimal() else 0.0)
    if response.is_redirect:
        where = response.headers.get("Location", "").partition("/api/push/")[0]
        raise PushError(f"the server has moved to {where}: push there", status)
    if status != HTTPStatus.OK:
        raise PushError(f"the run is refused: {explained}", status)
    try:
        return msgspec.json.decode(content, type=Pushed)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PushError("what answers there is no patchbay-serve", status) from error


def _reason(content: bytes) -> str:
    """What the server says of it: `{"error": {"message": …}}`; else the beginning of its text."""
    try:
        answer: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    error = answer.get("error") if isinstance(answer, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return message[:_SHOWN_ANSWER] if isinstance(message, str) else ""
