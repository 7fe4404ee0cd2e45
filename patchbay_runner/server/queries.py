"""What the operations of the API take after the question mark. A parameter that is not known is an error."""

from __future__ import annotations

from typing import Annotated

import msgspec

_MOST_WINDOW_BYTES = 4 << 20

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of an operation that takes none; others add theirs."""


class RunsQuery(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs."""

    project: tuple[str, ...] = ()
    branch: tuple[str, ...] = ()
    commit: tuple[Annotated[str, msgspec.Meta(min_length=4)], ...] = ()
    status: tuple[str, ...] = ()
    invocation: tuple[str, ...] = ()
    text: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200
    cursor: str | None = None


class LinesQuery(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of a file of JSON lines."""

    after: Annotated[int, msgspec.Meta(ge=-1, le=(1 << 53) - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000


class WindowQuery(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lines of a log: one of the first four."""

    after: Count | None = None
    at: Count | None = None
    before: str | None = None
    line: Annotated[int, msgspec.Meta(ge=1, le=(1 << 53) - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=_MOST_WINDOW_BYTES)] = 64 << 10


class SearchQuery(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to search for in a log, and from where."""

    q: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
    case: bool = False
    after: Count = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000


class FileQuery(Query, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to send a file."""

    download: bool = False
