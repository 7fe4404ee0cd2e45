"""Pushing, as OpenAPI describes it."""

from __future__ import annotations

from typing import Any

_KEY = "key"
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorReply"}}}
_REFUSALS = {
    "400": "a bad name of a project, or an archive that cannot be taken",
    "401": "the key is missing or wrong",
    "408": "nothing came for a minute",
    "413": "too many bytes or files",
    "503": "too many pushes at once",
    "507": "the disk is full",
}


def description() -> dict[str, Any]:
    """What is added to the description of the API."""
    operation = {
        "summary": "Takes in a run",
        "operationId": "api-push",
        "security": [{_KEY: []}],
        "parameters": [
            {"name": "project", "in": "path", "required": True, "schema": _text(r"^[A-Za-z0-9_-]{1,100}$")},
            {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "format": "uuid"}},
        ],
        "requestBody": {"required": True, "content": {"application/gzip": {}}},
        "responses": {
            "200": {"description": "it is stored", "content": {"application/json": {"schema": _reply()}}},
            **{status: {"description": text, "content": _ERROR} for status, text in _REFUSALS.items()},
        },
    }
    return {
        "paths": {"/api/push/{project}": {"post": operation}},
        "components": {"securitySchemes": {_KEY: {"type": "http", "scheme": "bearer"}}},
    }


def _text(pattern: str) -> dict[str, str]:
    return {"type": "string", "pattern": pattern}


def _reply() -> dict[str, Any]:
    names = ("project", "run", "invocation")
    return {
        "type": "object",
        "properties": {"ok": {"const": True}, **{name: {"type": "string"} for name in names}},
        "required": ["ok", *names],
    }
