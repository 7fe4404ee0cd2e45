"""A question put to a zone. Pure: names and addresses in and out, no messages."""

from __future__ import annotations

from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

import msgspec

from patchbay_runner.kernel.dns.dns64 import Dns64
from patchbay_runner.kernel.dns.zone import Entry, Zone
from patchbay_runner.model.names import LONGEST_ALIAS_CHAIN, Address, Labels

_V4_TREE: Labels = (b"in-addr", b"arpa")
_V6_TREE: Labels = (b"ip6", b"arpa")
_V4_PARTS, _V6_PARTS = 4, 32
_HEX = b"0123456789abcdef"


class Kind(IntEnum):
    """The types of records that a zone has, and the type that asks for all of them."""

    A = 1
    CNAME = 5
    PTR = 12
    AAAA = 28
    ANY = 255


class Code(IntEnum):
    """Response codes (RFC 1035, section 4.1.1; RFC 2308 for what they say of a name)."""

    NOERROR = 0
    SERVFAIL = 2
    NXDOMAIN = 3


class Record(msgspec.Struct, frozen=True):
    """Records of one name and kind: addresses for A and AAAA, names for CNAME and PTR."""

    owner: Labels
    kind: Kind
    values: tuple[Address | Labels, ...]


class Outcome(msgspec.Struct, frozen=True):
    """The answer. NOERROR without a record says that the name exists but has none of the kind."""

    code: Code
    records: tuple[Record, ...] = ()


def look_up(zone: Zone, name: Labels, kind: int, dns64: Dns64 | None = None) -> Outcome:
    """Follows aliases as a recursive resolver does; the code is that of the last name (RFC 6604, section 3)."""
    chain: list[Record] = []
    while True:
        outcome, alias = _step(zone, name, kind, dns64)
        chain.extend(outcome.records)
        if alias is None:
            return Outcome(outcome.code, tuple(chain))
        if len(chain) > LONGEST_ALIAS_CHAIN:
            return Outcome(Code.SERVFAIL)
        name = alias


def _step(zone: Zone, name: Labels, kind: int, dns64: Dns64 | None) -> tuple[Outcome, Labels | None]:
    """What one name has to say, and the name to ask next."""
    entry = zone.find(name)
    if entry is not None:
        if entry.alias is not None:
            alias = Outcome(Code.NOERROR, (Record(name, Kind.CNAME, (entry.alias,)),))
            return alias, None if kind in (Kind.CNAME, Kind.ANY) else entry.alias
        return Outcome(Code.NOERROR, _address_records(name, entry, kind, dns64)), None
    if name[-2:] in (_V4_TREE, _V6_TREE):
        return _reverse(zone, name, kind, dns64)
    return Outcome(Code.NOERROR if not name or zone.exists(name) else Code.NXDOMAIN), None


def _address_records(name: Labels, entry: Entry, kind: int, dns64: Dns64 | None) -> tuple[Record, ...]:
    v6 = entry.v6
    if kind == Kind.AAAA and not v6 and dns64 is not None:
        v6 = tuple(address for address in map(dns64.embed, entry.v4) if address is not None)
    records = []
    if entry.v4 and kind in (Kind.A, Kind.ANY):
        records.append(Record(name, Kind.A, entry.v4))
    if v6 and kind in (Kind.AAAA, Kind.ANY):
        records.append(Record(name, Kind.AAAA, v6))
    return tuple(records)


def _reverse(zone: Zone, name: Labels, kind: int, dns64: Dns64 | None) -> tuple[Outcome, Labels | None]:
    parts = _V4_PARTS if name[-2:] == _V4_TREE else _V6_PARTS
    if len(name) - 2 < parts:
        # Every part of the reverse trees has names below it; only whole addresses can be missing (RFC 8020).
        return Outcome(Code.NOERROR), None
    address = _reversed_address(name)
    if address is None:
        return Outcome(Code.NXDOMAIN), None
    inner = dns64.extract(address) if dns64 is not None and isinstance(address, IPv6Address) else None
    if inner is not None:
        # RFC 6147, section 5.3.1: the name of what is behind the translator.
        target = reverse_name(inner)
        alias = Outcome(Code.NOERROR, (Record(name, Kind.CNAME, (target,)),))
        return alias, None if kind in (Kind.CNAME, Kind.ANY) else target
    found = zone.name_of(address)
    if found is None:
        return Outcome(Code.NXDOMAIN), None
    return Outcome(Code.NOERROR, (Record(name, Kind.PTR, (found,)),) if kind in (Kind.PTR, Kind.ANY) else ()), None


def reverse_name(address: Address) -> Labels:
    """The name that an address is asked by (RFC 1035, section 3.5; RFC 3596, section 2.5)."""
    return tuple(address.reverse_pointer.encode().split(b"."))


def _reversed_address(name: Labels) -> Address | None:
    """The address of a whole reverse name; None for one that is longer, or not written as addresses are."""
    parts = name[-3::-1]
    if name[-2:] == _V4_TREE:
        if len(parts) != _V4_PARTS or not all(part.isdigit() and str(int(part)).encode() == part for part in parts):
            return None
        numbers = [int(part) for part in parts]
        return IPv4Address(bytes(numbers)) if max(numbers) < 256 else None
    if len(parts) != _V6_PARTS or not all(len(part) == 1 and part in _HEX for part in parts):
        return None
    return IPv6Address(bytes.fromhex(b"".join(parts).decode()))
