"""Names that a lab's resolver knows."""

from __future__ import annotations

import msgspec


class NameRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name and its addresses of either family, as texts, or another name that it stands for (CNAME).

    Neither case nor a final dot of a name matters. `*.rest` stands for every name below `rest` that has no entry and
    nothing below it (RFC 4592).
    """

    name: str
    addresses: tuple[str, ...] = ()
    alias: str = ""
