"""Names that a lab's resolver knows, and the grammar that files and requests of running labs share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

import msgspec

Labels = tuple[bytes, ...]
Address = IPv4Address | IPv6Address

# RFC 1035, section 3.1: 255 bytes with one in front of every label and one for the root, so 253 with dots between them.
_LONGEST_LABEL = 63
_LONGEST_NAME = 253
# More than any network has; a resolver gives up behind it.
LONGEST_ALIAS_CHAIN = 8
WILDCARD = b"*"


class NameRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A name and its addresses of either family, as texts, or another name that it stands for (CNAME).

    Neither case nor a final dot of a name matters. `*.rest` stands for every name below `rest` that has no entry and
    nothing below it (RFC 4592). A record with neither addresses nor alias takes a name away, where one can be.
    """

    name: str
    addresses: tuple[str, ...] = ()
    alias: str = ""

    @property
    def is_empty(self) -> bool:
        return not self.addresses and not self.alias


def labels_of(name: str) -> Labels:
    """The labels of a name, IDNA for those that are not ASCII. Raises ValueError for what DNS cannot carry."""
    text = name.removesuffix(".").lower()
    try:
        labels = tuple(part.encode() if part.isascii() else part.encode("idna") for part in text.split("."))
    except UnicodeError as error:
        raise ValueError(f"{name!r} cannot be a DNS name: {error}") from error
    if not all(1 <= len(label) <= _LONGEST_LABEL for label in labels):
        raise ValueError(f"{name!r} cannot be a DNS name: its labels have 1 to {_LONGEST_LABEL} bytes")
    if sum(map(len, labels)) + len(labels) - 1 > _LONGEST_NAME:
        raise ValueError(f"{name!r} cannot be a DNS name: it has more than {_LONGEST_NAME} bytes")
    return labels


def address_of(text: str) -> Address:
    """An address of either family. Raises ValueError, also for one with a zone, which DNS cannot carry."""
    # Not ip_address(), which tries IPv4 first: there may be thousands.
    address = IPv6Address(text) if ":" in text else IPv4Address(text)
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise ValueError(f"{text!r} has a zone")
    return address


def is_like_an_address(text: str) -> bool:
    """Whether a text is an address or a wrong one: no name looks like that."""
    return ":" in text or (not text.strip("0123456789./") and text != "")


def record_of(name: str, values: Sequence[str]) -> NameRecord:
    """What a name with these values is: addresses, or one other name. Raises ValueError for anything else."""
    labels_of(name)
    if len(values) == 1 and not is_like_an_address(values[0]):
        labels_of(values[0])
        return NameRecord(name, alias=values[0])
    for value in values:
        address_of(value)
    return NameRecord(name, tuple(values))


class AliasProblem(msgspec.Struct, frozen=True):
    """Why following aliases does not end at addresses. `path` are the names on the way, as written."""

    reason: Literal["unknown", "loop", "long"]
    path: tuple[str, ...]

    def __str__(self) -> str:
        way = " -> ".join(self.path)
        match self.reason:
            case "unknown":
                return f"there is no name {self.path[-1]!r} ({way})"
            case "loop":
                return f"names stand for each other in a circle: {way}"
            case "long":
                return f"more than {LONGEST_ALIAS_CHAIN} names stand for each other in a row: {way}"


class NameTable:
    """Which records count where several layers have some: those of a later layer replace an earlier one's whole."""

    def __init__(self, *layers: Iterable[NameRecord]) -> None:
        self._records = {labels_of(record.name): record for layer in layers for record in layer}
        # Names that exist because something is below them: no wildcard stands for these.
        self._inner = {name[start:] for name in self._records for start in range(1, len(name))}

    def __iter__(self) -> Iterator[NameRecord]:
        return iter(self._records.values())

    def find(self, name: str) -> NameRecord | None:
        """The record that answers for a name."""
        labels = labels_of(name)
        found = self._records.get(labels)
        if found is not None or labels in self._inner:
            return found
        for start in range(1, len(labels) + 1):
            ancestor = labels[start:]
            found = self._records.get((WILDCARD, *ancestor))
            if found is not None or ancestor in self._inner or ancestor in self._records:
                return found
        return None

    def problem(self, record: NameRecord) -> AliasProblem | None:
        """What is wrong with an alias, or with those that it leads to."""
        path, seen = [record.name], {labels_of(record.name)}
        while record.alias:
            path.append(record.alias)
            labels = labels_of(record.alias)
            found = self.find(record.alias)
            if found is None:
                return AliasProblem("unknown", tuple(path))
            if labels in seen:
                return AliasProblem("loop", tuple(path))
            if len(path) - 1 > LONGEST_ALIAS_CHAIN:
                return AliasProblem("long", tuple(path))
            seen.add(labels)
            record = found
        return None


def changed_names(names: Iterable[NameRecord], changes: Iterable[NameRecord]) -> tuple[NameRecord, ...]:
    """Names after a change; an empty record takes its name away. Raises ValueError for what DNS cannot carry."""
    return tuple([record for record in NameTable(names, changes) if not record.is_empty])
