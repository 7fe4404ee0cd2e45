"""The built page, or a word on how to build it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from patchbay_runner.server.refusals import not_found
from patchbay_runner.server.rooted import is_served_name

if TYPE_CHECKING:
    from starlette.requests import Request

STATIC = Path(__file__).parent / "static"
_INDEX = "index.html"

# The build puts a digest of the content into the names of what it makes: assets/index-Dk3jf0sQ.js
_HASHED = re.compile(r".*[-.][A-Za-z0-9_-]{8,}\.\w+")
_FOREVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}

_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>patchbay</title></head>
<body><h1>The page is not built</h1>
<p>In a checkout, <code>make ui</code> builds it. The <a href="api/runs">API</a> works without it.</p>
</body></html>
"""


def serve_page(_request: Request) -> Response:
    """The page: it finds out by itself what to show."""
    if not (STATIC / _INDEX).is_file():
        return Response(_NOT_BUILT, 200, {"Cache-Control": "no-cache"}, "text/html")
    return _file(_INDEX)


def serve_asset(request: Request) -> Response:
    """A file of the page. Raises Refusal when there is none."""
    parts = request.url.path.strip("/").split("/")
    if not all(map(is_served_name, parts)) or not STATIC.joinpath(*parts).is_file():
        raise not_found("such page")
    return _file("/".join(parts))


def _file(name: str) -> Response:
    path = STATIC / name
    is_hashed = name.startswith("assets/") and _HASHED.fullmatch(path.name)
    headers = {"Cache-Control": _FOREVER if is_hashed else "no-cache"}
    return FileResponse(path, headers=headers, media_type=_TYPES.get(path.suffix, "application/octet-stream"))
