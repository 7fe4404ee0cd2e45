"""DNS messages: a query's bytes to a question, an outcome to a reply's bytes. Pure; dnspython does the wire format.

The resolver is authoritative for everything, and so sets AA; it sets RA as well, because stub resolvers take the
absence of both for a server that does not care for them.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import msgspec
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from patchbay_runner.kernel.dns.lookup import Code, Kind, Outcome, Record
from patchbay_runner.model.names import Labels

# Addresses of a lab change while it runs, and a program that looks again shall see it.
TTL_S = 1
# What fits into every IPv6 path without fragments; larger answers go by TCP (RFC 9715).
UDP_PAYLOAD = 1232
_UDP_PAYLOAD_WITHOUT_EDNS = 512
_LARGEST = 65_535

_HEADER_SIZE = 12
_QR = 0x8000
_OPCODE_AND_RD = 0x7900
_IN = dns.rdataclass.IN
_META_KINDS = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB})
_SOA = SOA(
    _IN,
    dns.rdatatype.SOA,
    dns.name.from_text("resolver.patchbay."),
    dns.name.from_text("lab.patchbay."),
    serial=1,
    refresh=3600,
    retry=600,
    expire=86_400,
    minimum=TTL_S,
)


class Question(msgspec.Struct, frozen=True):
    """What is asked. `validates` says that the client checks signatures itself (RFC 6147, section 5.5)."""

    name: Labels
    kind: int
    validates: bool = False


def reply_to(query: bytes, look_up: Callable[[Question], Outcome], *, is_udp: bool) -> bytes | None:
    """The reply to a query; None for what is no query at all, a reply among them.

    A reply that is too large for the client's datagrams says so and has the addresses that fit: most clients ask again
    by TCP, and those that cannot (musl before 1.2.4) make do with them, as they do on the internet.
    """
    if len(query) < _HEADER_SIZE or query[2] & 0x80:
        return None
    try:
        message = dns.message.from_wire(query, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return _refusal(query, dns.rcode.FORMERR)
    reply = dns.message.make_response(message, recursion_available=True, our_payload=UDP_PAYLOAD)
    rcode = _objection(message)
    if rcode is not None:
        reply.set_rcode(rcode)
    else:
        asked = message.question[0]
        validates = bool(message.flags & dns.flags.CD and message.ednsflags & dns.flags.DO)
        _fill(reply, look_up(Question(_labels(asked.name), asked.rdtype, validates)))
    limit = _udp_limit(message) if is_udp else _LARGEST
    return _encoded(reply, limit)


def _objection(message: dns.message.Message) -> dns.rcode.Rcode | None:
    if message.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(message.question) != 1:
        return dns.rcode.FORMERR
    if message.edns > 0:
        return dns.rcode.BADVERS
    asked = message.question[0]
    if asked.rdclass not in (_IN, dns.rdataclass.ANY) or asked.rdtype in _META_KINDS:
        return dns.rcode.REFUSED
    return None


def _fill(reply: dns.message.Message, outcome: Outcome) -> None:
    reply.flags |= dns.flags.AA
    reply.set_rcode(dns.rcode.from_flags(outcome.code, 0))
    reply.answer = [_rrset(record) for record in outcome.records]
    answered = bool(outcome.records) and outcome.records[-1].kind is not Kind.CNAME
    asks_alias = reply.question[0].rdtype in (dns.rdatatype.CNAME, dns.rdatatype.ANY)
    if outcome.code is Code.NXDOMAIN or not (answered or (outcome.records and asks_alias)):
        reply.authority = [dns.rrset.from_rdata(dns.name.root, TTL_S, _SOA)]


def _rrset(record: Record) -> dns.rrset.RRset:
    return dns.rrset.from_rdata_list(
        _name(record.owner), TTL_S, [_rdata(value, record.kind) for value in record.values]
    )


def _rdata(value: IPv4Address | IPv6Address | Labels, kind: Kind) -> dns.rdata.Rdata:
    match value:
        case IPv4Address():
            return A(_IN, dns.rdatatype.A, str(value))
        case IPv6Address():
            return AAAA(_IN, dns.rdatatype.AAAA, str(value))
        case _ if kind is Kind.PTR:
            return PTR(_IN, dns.rdatatype.PTR, _name(value))
        case _:
            return CNAME(_IN, dns.rdatatype.CNAME, _name(value))


def _labels(name: dns.name.Name) -> Labels:
    return tuple(label.lower() for label in name.labels[:-1])


def _name(labels: Labels) -> dns.name.Name:
    return dns.name.Name((*labels, b""))


def _udp_limit(query: dns.message.Message) -> int:
    if query.edns < 0:
        return _UDP_PAYLOAD_WITHOUT_EDNS
    return min(max(query.payload, _UDP_PAYLOAD_WITHOUT_EDNS), UDP_PAYLOAD)


def _encoded(reply: dns.message.Message, limit: int) -> bytes:
    wire = _wire(reply, limit)
    if wire is None:
        reply.flags |= dns.flags.TC
        reply.authority = []
        wire = _with_what_fits(reply, limit)
    return wire


def _with_what_fits(reply: dns.message.Message, limit: int) -> bytes:
    answer = reply.answer

    def with_first(count: int) -> bytes | None:
        reply.answer = _first(answer, count)
        return _wire(reply, limit)

    counts = range(1, sum(map(len, answer)) + 1)
    fitting = bisect_left(counts, True, key=lambda count: with_first(count) is None)
    wire = with_first(fitting)
    assert wire is not None, "a question alone fits into every datagram"
    return wire


def _first(answer: list[dns.rrset.RRset], count: int) -> list[dns.rrset.RRset]:
    """The first `count` records."""
    kept = []
    for rrset in answer:
        if count > 0:
            kept.append(dns.rrset.from_rdata_list(rrset.name, rrset.ttl, list(rrset)[:count]))
        count -= len(rrset)
    return kept


def _wire(reply: dns.message.Message, limit: int) -> bytes | None:
    """The reply's bytes, None when they are more than `limit`."""
    try:
        # dnspython would shuffle addresses; a run shall be repeatable.
        return bytes(reply.to_wire(max_size=limit, want_shuffle=False))
    except dns.exception.TooBig:
        return None


def _refusal(query: bytes, rcode: dns.rcode.Rcode) -> bytes:
    """A reply without a question, for a query of which only the header can be read."""
    identifier, flags = struct.unpack_from("!HH", query)
    return struct.pack("!HHHHHH", identifier, _QR | flags & _OPCODE_AND_RD | int(rcode), 0, 0, 0, 0)
