"""The names a resolver knows, and what they stand for. Pure.

Names are tuples of labels, in small letters, without the root: ("www", "example") as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.model import names
from patchbay_runner.model.names import WILDCARD, Address, Labels, NameRecord

# Known on every network: RFC 6761 (section 6.3), and the name that hosts find a NAT64 prefix by (RFC 7050).
WELL_KNOWN = (
    NameRecord("localhost", ("127.0.0.1", "::1")),
    NameRecord("ipv4only.arpa", ("192.0.0.170", "192.0.0.171")),
)


class Entry(msgspec.Struct, frozen=True):
    """What a name stands for: addresses of both families, or an alias and nothing else."""

    v4: tuple[IPv4Address, ...] = ()
    v6: tuple[IPv6Address, ...] = ()
    alias: Labels | None = None


def labels_of(name: str) -> Labels:
    """The labels of a name. Raises LabError for what DNS cannot carry."""
    try:
        return names.labels_of(name)
    except ValueError as error:
        raise LabError(str(error)) from error


class Zone:
    """Names and addresses. What it does not know it asks of `parent`, whose entry for a name it replaces whole.

    Records of one name add up. Raises LabError for a record that contradicts itself or another.
    """

    def __init__(self, records: Iterable[NameRecord], parent: Zone | None = None) -> None:
        self._parent = parent
        self._entries: dict[Labels, Entry] = {}
        # Names that exist because something is below them ("empty non-terminals").
        self._inner: set[Labels] = set()
        self._names: dict[Address, Labels] = {}
        for record in records:
            self._add(record)

    def find(self, name: Labels) -> Entry | None:
        """The entry of a name, a wildcard's where no closer name exists (RFC 4592, section 3.3.1)."""
        entry = self._exact(name)
        if entry is not None or self.exists(name):
            return entry
        for start in range(1, len(name) + 1):
            ancestor = name[start:]
            entry = self._exact((WILDCARD, *ancestor))
            if entry is not None or self.exists(ancestor):
                return entry
        return None

    def exists(self, name: Labels) -> bool:
        """Whether the name has an entry of its own, or a name below it has."""
        here = name in self._entries or name in self._inner
        return here or (self._parent is not None and self._parent.exists(name))

    def name_of(self, address: Address) -> Labels | None:
        """The first name that was given the address and still has it."""
        name = self._names.get(address)
        if name is None and self._parent is not None:
            name = self._parent.name_of(address)
            entry = None if name is None else self.find(name)
            if entry is not None and address not in entry.v4 and address not in entry.v6:
                return None
        return name

    def _exact(self, name: Labels) -> Entry | None:
        entry = self._entries.get(name)
        return self._parent._exact(name) if entry is None and self._parent is not None else entry

    def _add(self, record: NameRecord) -> None:
        name = labels_of(record.name)
        entry = self._entries.get(name)
        if bool(record.addresses) == bool(record.alias) or (entry and (entry.alias or record.alias)):
            raise LabError(f"the name {record.name!r} needs either addresses or one alias")
        self._inner.update(name[start:] for start in range(1, len(name)))
        if record.alias:
            self._entries[name] = Entry(alias=labels_of(record.alias))
            return
        addresses = _addresses(record)
        self._entries[name] = _joined(entry, addresses)
        if WILDCARD not in name:
            for address in addresses:
                self._names.setdefault(address, name)


def _joined(entry: Entry | None, addresses: list[Address]) -> Entry:
    found = dict.fromkeys(addresses if entry is None else (*entry.v4, *entry.v6, *addresses))
    v4 = tuple(address for address in found if isinstance(address, IPv4Address))
    v6 = tuple(address for address in found if isinstance(address, IPv6Address))
    return Entry(v4, v6)


def _addresses(record: NameRecord) -> list[Address]:
    try:
        return [names.address_of(text) for text in record.addresses]
    except ValueError as error:
        raise LabError(f"the name {record.name!r}: {error}") from error
