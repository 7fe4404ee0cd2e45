"""The application: the API, the stream and the page of one directory."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from patchbay_runner.server import guards, openapi, page
from patchbay_runner.server.api import Api, Document, ToSend
from patchbay_runner.server.catalog import Catalog
from patchbay_runner.server.files import OpenFile, etag_matches
from patchbay_runner.server.hub import Hub
from patchbay_runner.server.operations import OPERATIONS, Call, Operation
from patchbay_runner.server.places import only_sim
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Root
from patchbay_runner.server.stream import StreamQuery, open_stream

Endpoint = Callable[[Request], Awaitable[Response]]

_FORMER = ("state", "events", "events.json", "logs", "logs/{path:path}")


class AppOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`routes` (Starlette's) come before those of the page; `described` is what OpenAPI says of them.

    `may_use_inotify` False asks, as where it is used up.
    """

    is_our_host: guards.HostCheck = guards.only_loopback
    title: str | None = None
    is_accepting_pushes: bool = False
    routes: tuple[Any, ...] = ()
    described: dict[str, Any] = {}
    may_use_inotify: bool = True


def create_app(directory: Path, options: AppOptions | None = None) -> guards.Guards:
    """Serves the runs below `directory`. Routes that are added find the hub in `request.app.state.hub`."""
    options = options or AppOptions()
    root = Root(directory)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        hub = Hub(Catalog(root), may_use_inotify=options.may_use_inotify)
        app.state.hub = hub
        title = options.title or root.path.name
        app.state.api = Api(hub, title=title, is_accepting_pushes=options.is_accepting_pushes)
        await hub.list.start()
        try:
            yield
        finally:
            await hub.close()

    app = Starlette(
        routes=[*_api_routes(options), *options.routes, *_page_routes()],
        exception_handlers={Refusal: _refused, HTTPException: _refused, Exception: _defect},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return guards.Guards(app, options.is_our_host)


def _api_routes(options: AppOptions) -> list[Route]:
    description = msgspec.json.encode(openapi.describe(options.described))

    async def describe(_request: Request) -> Response:
        return Response(description, media_type="application/json")

    return [
        Route("/openapi.json", describe),
        Route("/api/stream", _stream),
        *_former_routes(),
        *(Route(operation.path.replace("{path}", "{path:path}"), _endpoint(operation)) for operation in OPERATIONS),
    ]


def _page_routes() -> list[Route]:
    pages = [Route(path, _on_thread(page.serve_page)) for path in ("/", "/runs")]
    return [*pages, Route("/api/{rest:path}", _nothing), Route("/{rest:path}", _on_thread(page.serve_asset))]


def _former_routes() -> list[Route]:
    """The paths that the book has."""

    async def lead(request: Request) -> Response:
        run = request.path_params["run"]
        sim = await run_in_threadpool(only_sim, request.app.state.hub.catalog, _text(run))
        rest = request.url.path.split("/", 4)[4].replace("events.json", "events")
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/api/runs/{run}/sims/{quote(sim, safe='')}/{rest}{query}", 307)

    async def subscribe(_request: Request) -> Response:
        return RedirectResponse("/api/stream?runs=true", 307)

    results = next(each for each in OPERATIONS if each.path == "/api/invocations/{invocation}/results")
    return [
        Route("/api/runs/subscribe", subscribe),
        Route("/api/invocations/{invocation}/combined-results", _endpoint(results)),
        *(Route(f"/api/runs/{{run}}/{rest}", lead) for rest in _FORMER),
    ]


def _endpoint(operation: Operation) -> Endpoint:
    async def answer(request: Request) -> Response:
        names = {name: _text(value) for name, value in request.path_params.items()}
        call = Call(names, parse_query(operation.query, request))
        found = await run_in_threadpool(operation.answer, request.app.state.api, call)
        if isinstance(found, ToSend):
            return OpenFile(found.descriptor, found.name, request.headers, is_download=call.query.download)
        return _json(found.body if isinstance(found, Document) else msgspec.json.encode(found), request)

    return answer


async def _stream(request: Request) -> Response:
    query: StreamQuery = parse_query(StreamQuery, request)
    log = Call({"path": query.log}, None).path if query.log else ()
    return await open_stream(request.app.state.hub, query, log, request.headers.get("last-event-id"))


def parse_query(kind: Any, request: Request) -> Any:
    """The parameters of a request as a record. Raises Refusal when they are not what it takes."""
    fields: dict[str, Any] = {}
    lists = _lists_of(kind)
    for name, value in request.query_params.multi_items():
        if name in lists:
            fields.setdefault(name, []).append(value)
        elif name in fields:
            raise Refusal(400, f"{name[:100]} is there twice")
        else:
            fields[name] = value
    try:
        return msgspec.convert(fields, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(400, str(error)) from error


@functools.cache
def _lists_of(kind: Any) -> frozenset[str]:
    """The parameters that may be repeated."""
    return frozenset(field.name for field in msgspec.structs.fields(kind) if field.default == ())


def _text(encoded: str) -> str:
    """A part of a path as it was meant. Raises Refusal when that is no text."""
    try:
        text = unquote_to_bytes(encoded.encode("latin-1")).decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, "a name in the path is no UTF-8") from error
    if "\0" in text:
        raise Refusal(400, "a name in the path has a zero byte")
    return text


def _json(body: bytes, request: Request) -> Response:
    etag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"Cache-Control": "no-cache", "ETag": etag}
    if etag_matches(request.headers.get("if-none-match"), etag):
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")


def _on_thread(answer: Callable[[Request], Response]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint


async def _nothing(request: Request) -> Response:
    raise Refusal(404, f"there is nothing at {request.url.path[:200]}")


async def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        error = Refusal(error.status_code, error.detail, dict(error.headers or {}))
    assert isinstance(error, Refusal)
    return guards.refusal_reply(error)


async def _defect(_request: Request, _error: Exception) -> Response:
    return guards.refusal_reply(Refusal(500, "this is a defect of the server, or of a file; its output says more"))
