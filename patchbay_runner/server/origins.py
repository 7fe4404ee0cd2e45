"""run.json: where a run comes from. Whoever pushed it wrote it, so nothing in it is taken on trust."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

_LONGEST_TEXT = 1000
_MOST_PR = 1 << 53


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """What run.json says, as far as it can be used."""

    project: str | None = None
    branch: str | None = None
    commit: str | None = None
    pr: int | None = None
    pr_url: str | None = None
    title: str | None = None
    created_at: str | None = None


def read_provenance(document: bytes | None) -> Provenance:
    """Fields that are missing, or of another kind than they should be, are None."""
    try:
        fields = msgspec.json.decode(document, type=dict[str, Any]) if document else {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Provenance()
    return Provenance(**{name: read(fields.get(name)) for name, read in _READERS.items()})


def _text(value: object) -> str | None:
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value.strip() else None


def _address(value: object) -> str | None:
    """Pages make a link of it: `javascript:` and the like must not get there."""
    text = _text(value)
    return text if text and text.startswith(("https://", "http://")) else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16:
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 < value < _MOST_PR else None  # type: ignore[operator, return-value]


_READERS: dict[str, Callable[[object], Any]] = {
    "project": _text,
    "branch": _text,
    "commit": _text,
    "pr": _number,
    "pr_url": _address,
    "title": _text,
    "created_at": _text,
}
