"""`POST /api/push/{project}`: a tar.gz of a run, by somebody who has the key."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import UUID

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from patchbay_runner.errors import HostError
from patchbay_runner.model.sizes import format_size
from patchbay_runner.results.origin import PROJECT_EXPECTED, is_project
from patchbay_runner.server.pushed.body import Body, Disconnected
from patchbay_runner.server.pushed.refusal import Refusal, refused_write, too_large
from patchbay_runner.server.pushed.retention import Retention
from patchbay_runner.server.pushed.store import MARK_NAME, Mark, RunStore, Upload
from patchbay_runner.server.pushed.unpack import Limits, Unpacker

if TYPE_CHECKING:
    from starlette.requests import Request

_AT_ONCE = 8
_RETRY_AFTER_S = "5"
_PASSED_OVER = frozenset({MARK_NAME})
_CODES = {
    HTTPStatus.UNAUTHORIZED: "unauthorized",
    HTTPStatus.REQUEST_TIMEOUT: "timeout",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "busy",
    HTTPStatus.INSUFFICIENT_STORAGE: "no_room",
    HTTPStatus.INTERNAL_SERVER_ERROR: "internal",
}

_P = ParamSpec("_P")
_R = TypeVar("_R")

_log = logging.getLogger("patchbay.push")


class PushApi:
    """Takes pushes into `store`, and keeps that within `retention_bytes`."""

    def __init__(self, store: RunStore, api_key: str, limits: Limits, retention: Retention | None = None) -> None:
        self._store = store
        self._key_digest = _digest(api_key)
        # A single run that retention would have to delete again is not taken in the first place.
        most_bytes = min(limits.bytes, retention.limit_bytes) if retention else limits.bytes
        self._limits = Limits(most_bytes, limits.files)
        self._retention = retention
        self._uploads = 0

    def routes(self) -> list[Route]:
        """What this adds to the application."""
        return [Route("/api/push/{project}", self._answer, methods=["POST"])]

    async def _answer(self, request: Request) -> Response:
        body = Body(request.receive)
        try:
            mark = await self._take(request, body)
        except Disconnected:
            _log.info("%s: gone before the end", request.url.path)
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except Refusal as refusal:
            _log.info("%s: %d, %s", request.url.path, refusal.status, refusal.message)
            if "expect" not in request.headers:  # such a client waits, and has sent nothing
                await body.drain()
            return _refused(refusal)
        _log.info("%s: %s, %s", request.url.path, mark.name, format_size(mark.disk_bytes))
        if self._retention:
            await self._retention.enforce()
        return JSONResponse({"ok": True, "project": mark.project, "run": mark.name, "invocation": mark.name})

    async def _take(self, request: Request, body: Body) -> Mark:
        self._check_key(request.headers.get("authorization", ""))
        project = request.path_params["project"]
        if not is_project(project):
            message = f"{project[:200]!r} is no name of a project; expected {PROJECT_EXPECTED}"
            raise Refusal(HTTPStatus.BAD_REQUEST, message)
        push_id = _push_id(request.headers.get("idempotency-key"))
        if push_id and (earlier := await asyncio.to_thread(self._store.find, project, push_id)):
            await body.drain()
            return earlier
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.bytes:
            raise too_large("the archive is larger than what this server takes unpacked")
        if self._uploads >= _AT_ONCE:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many pushes at once; try again in a moment")
        self._uploads += 1
        try:
            return await self._store_body(project, push_id, body)
        finally:
            self._uploads -= 1

    async def _store_body(self, project: str, push_id: UUID | None, body: Body) -> Mark:
        upload = await _writing(self._store.begin, project, push_id)
        unpacker = Unpacker(upload.directory, self._limits, _PASSED_OVER)
        try:
            while piece := await body.next_piece():
                await _writing(unpacker.feed, piece)
            return await _writing(self._publish, upload, unpacker)
        except BaseException:
            unpacker.close()
            self._store.discard(upload)
            raise

    def _publish(self, upload: Upload, unpacker: Unpacker) -> Mark:
        unpacker.finish()
        return self._store.publish(upload, unpacker.files, unpacker.disk_bytes)

    def _check_key(self, authorization: str) -> None:
        """Digests are of equal length, so that the time of the comparison tells nothing about the key."""
        scheme, _, key = authorization.partition(" ")
        is_right = hmac.compare_digest(_digest(key.strip()), self._key_digest)
        if scheme.lower() != "bearer" or not is_right:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "the key is missing or wrong; expected Authorization: Bearer KEY")


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def _push_id(header: str | None) -> UUID | None:
    """Clients that try again send the same one."""
    if header is None:
        return None
    try:
        return UUID(header)
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Idempotency-Key has to be a UUID") from error


def _refused(refusal: Refusal) -> JSONResponse:
    code = _CODES.get(refusal.status, "bad_request")
    # What is left of the body would be taken for the next request.
    headers = {"connection": "close"}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="patchbay"'
    if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["retry-after"] = _RETRY_AFTER_S
    body = {"error": {"code": code, "message": refusal.message}}
    return JSONResponse(body, status_code=refusal.status, headers=headers)


async def _writing(work: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Does in a thread what writes to the disk."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise refused_write(error) from error
    except HostError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise refused_write(error.__cause__) from error
