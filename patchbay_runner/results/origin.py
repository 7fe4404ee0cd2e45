"""run.json: where a run comes from. CI writes it, `patchbay push` makes it, servers index by it.

Files of this name come from anywhere. What is unusable in one is left out, and the rest counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

RUN_INFO_NAME = "run.json"
_LARGEST_BYTES = 1 << 16
_LONGEST_TEXT = 500
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,100}")

PROJECT_EXPECTED = "up to 100 letters, digits, - and _"


class RunOrigin(msgspec.Struct, frozen=True, omit_defaults=False):
    """What run.json says. `created_at` is RFC 3339; `pr` the number of a pull or merge request."""

    project: str | None = None
    branch: str | None = None
    commit: str | None = None
    pr: int | None = None
    pr_url: str | None = None
    title: str | None = None
    created_at: str | None = None


def is_project(name: str) -> bool:
    """Whether projects may be called so."""
    return _PROJECT.fullmatch(name) is not None


def read_origin(directory: Path) -> RunOrigin | None:
    """run.json of `directory`. None when there is none, or it is no JSON object."""
    try:
        with (directory / RUN_INFO_NAME).open("rb") as file:
            content = file.read(_LARGEST_BYTES + 1)
    except FileNotFoundError:
        return None
    return parse_origin(content)


def parse_origin(content: bytes) -> RunOrigin | None:
    """What run.json holds. None when that is no JSON object or too long to be one of ours."""
    try:
        fields = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return origin_of(fields) if isinstance(fields, dict) and len(content) <= _LARGEST_BYTES else None


def origin_of(fields: Mapping[str, Any]) -> RunOrigin:
    """The fields that can be used."""
    url = _text(fields.get("pr_url"))
    return RunOrigin(
        project=_text(fields.get("project")),
        branch=_text(fields.get("branch")),
        commit=_text(fields.get("commit")),
        pr=_number(fields.get("pr")),
        pr_url=url if url and _is_web_address(url) else None,
        title=_text(fields.get("title")),
        created_at=_text(fields.get("created_at")),
    )


def _text(value: object) -> str | None:
    """The first line; commit messages have more."""
    lines = value.strip().splitlines() if isinstance(value, str) else []
    return lines[0][:_LONGEST_TEXT] if lines else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15 else None


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
