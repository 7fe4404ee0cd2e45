"""The API as OpenAPI 3.1, from the same table and records that answer it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from patchbay_runner import __version__
from patchbay_runner.server.operations import OPERATIONS, Operation
from patchbay_runner.server.refusals import CODES, ErrorReply
from patchbay_runner.server.stream import StreamQuery

_REFERENCE = "#/components/schemas/{name}"
_STREAM = "/api/stream"
_NAME_DESCRIPTIONS = {
    "run": "a run's name",
    "sim": "the directory of a sim",
    "path": "a path below it",
    "invocation": "the first component of a run's name",
}


def describe(more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The description; `more` has the `paths` and `components` of routes that were added."""
    more = more or {}
    kinds = [operation.reply for operation in OPERATIONS if not isinstance(operation.reply, str)]
    schemas, components = msgspec.json.schema_components([*kinds, ErrorReply], ref_template=_REFERENCE)
    by_kind = {id(kind): schema for kind, schema in zip([*kinds, ErrorReply], schemas, strict=True)}
    paths = {operation.path: {"get": _operation(operation, by_kind)} for operation in OPERATIONS}
    paths[_STREAM] = {"get": _stream()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "patchbay", "version": __version__, "description": "Runs of patchbay, as they are on disk."},
        "paths": paths | more.get("paths", {}),
        "components": {"schemas": components} | more.get("components", {}),
    }


def _operation(operation: Operation, by_kind: dict[int, Any]) -> dict[str, Any]:
    if isinstance(operation.reply, str):
        content: dict[str, Any] = {operation.reply: {}, "*/*": {}}
        more = {"206": {"description": "the range that was asked for", "content": content}, **_errors("416")}
    else:
        content = {"application/json": {"schema": by_kind[id(operation.reply)]}}
        more = {}
    names = re.findall(r"{(\w+)}", operation.path)
    return {
        "summary": operation.summary,
        "operationId": re.sub(r"\W+", "-", operation.path).strip("-"),
        "parameters": [*map(_name, names), *_parameters(operation.query)],
        "responses": {"200": {"description": operation.summary, "content": content}, **more, **_all_errors(names)},
    }


def _stream() -> dict[str, Any]:
    return {
        "summary": "What happens, as server-sent events",
        "operationId": "api-stream",
        "parameters": _parameters(StreamQuery),
        "responses": {
            "200": {"description": "events", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **_all_errors(["run"]),
            **_errors("503"),
        },
    }


def _all_errors(names: list[str]) -> dict[str, Any]:
    return _errors("400", "403", "405", "421", *(["404"] if names else []))


def _errors(*statuses: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _REFERENCE.format(name="ErrorReply")}}}
    return {status: {"description": CODES[int(status)].replace("_", " "), "content": content} for status in statuses}


def _name(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {"name": name, "in": "path", "required": True, "description": _NAME_DESCRIPTIONS[name], "schema": schema}


def _parameters(query: Any) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([query], ref_template=_REFERENCE)
    described = components[query.__name__]
    required = described.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(schema)}
        for name, schema in described["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is there or not; null is a matter of bodies."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return dict(kinds[0])
    return {name: value for name, value in schema.items() if name != "default" or value is not None}
