"""Replies on the wire: codes, flags, EDNS, truncation, and bytes that are no query."""

from __future__ import annotations

from ipaddress import ip_address

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.dns import Dns64, Resolver, Zone
from patchbay_runner.kernel.dns.lookup import reverse_name
from patchbay_runner.model.names import NameRecord

CLIENT = ip_address("10.0.1.2")
OTHER = ip_address("10.0.1.3")


def long_name(letter: str) -> str:
    return ".".join([letter * 60] * 3)


RECORDS = (
    NameRecord("server", ("198.18.1.2", "2001:db8:1:1::2")),
    NameRecord("old", ("198.18.2.2",)),
    NameRecord("www.example.com", alias="server"),
    NameRecord("many", tuple(f"10.1.{i // 250}.{i % 250 + 1}" for i in range(1000))),
    NameRecord("some", tuple(f"10.2.0.{i + 1}" for i in range(50))),
    NameRecord("more", tuple(f"10.{3 + i // 65000}.{i // 250 % 250}.{i % 250}" for i in range(5000))),
    *(NameRecord(long_name(letter), alias=long_name(following)) for letter, following in ("ab", "bc", "cd")),
)
ZONE = Zone(RECORDS)


def resolver() -> Resolver:
    return Resolver(ZONE, {OTHER: Zone([NameRecord("server", ("10.7.7.7",))], ZONE)})


def query(name: str, kind: str = "A", **options: object) -> dns.message.Message:
    return dns.message.make_query(name, kind, **options)  # type: ignore[arg-type]


def exchange(
    message: dns.message.Message, *, dns64: Dns64 | None = None, is_udp: bool = True, client: str = str(CLIENT)
) -> dns.message.Message:
    reply = resolver().reply(message.to_wire(), ip_address(client), dns64, is_udp=is_udp)
    assert reply is not None
    decoded = dns.message.from_wire(reply)
    assert decoded.id == message.id
    return decoded


def texts(reply: dns.message.Message) -> list[str]:
    return [rdata.to_text() for rrset in reply.answer for rdata in rrset]


def test_an_answer_has_the_flags_that_stub_resolvers_look_for() -> None:
    reply = exchange(query("server"))
    assert texts(reply) == ["198.18.1.2"]
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
    assert reply.answer[0].ttl == 1
    assert (reply.edns, reply.authority, reply.additional) == (-1, [], [])


def test_the_question_comes_back_as_it_was_written() -> None:
    wire = query("SeRveR").to_wire()
    reply = resolver().reply(wire, CLIENT)
    assert reply is not None
    # The answer's name is a pointer to the question's, and so has its case as well.
    assert reply.count(b"SeRveR") == reply.lower().count(b"server") == 1
    assert texts(dns.message.from_wire(reply)) == ["198.18.1.2"]


def test_an_alias_comes_with_what_it_stands_for() -> None:
    reply = exchange(query("www.example.com", "AAAA"))
    assert [rrset.to_text() for rrset in reply.answer] == [
        "www.example.com. 1 IN CNAME server.",
        "server. 1 IN AAAA 2001:db8:1:1::2",
    ]
    assert reply.authority == []


def test_an_alias_whose_target_has_no_such_record_says_so() -> None:
    reply = exchange(query("www.example.com", "TXT"))
    assert [rrset.rdtype for rrset in reply.answer] == [dns.rdatatype.CNAME]
    assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA]
    assert exchange(query("www.example.com", "CNAME")).authority == []


@pytest.mark.parametrize(
    ("name", "kind", "rcode"),
    [("old", "AAAA", dns.rcode.NOERROR), ("server", "MX", dns.rcode.NOERROR), ("nobody", "A", dns.rcode.NXDOMAIN)],
)
def test_negative_answers_carry_an_soa(name: str, kind: str, rcode: dns.rcode.Rcode) -> None:
    reply = exchange(query(name, kind))
    assert (reply.rcode(), reply.answer) == (rcode, [])
    assert [rrset.rdtype for rrset in reply.authority] == [dns.rdatatype.SOA]
    assert reply.authority[0][0].minimum == 1


def test_dns64_applies_where_it_is_asked_of() -> None:
    assert texts(exchange(query("old", "AAAA"), dns64=Dns64())) == ["64:ff9b::c612:202"]
    assert texts(exchange(query("old", "AAAA"))) == []


def test_dns64_leaves_clients_alone_that_check_signatures() -> None:
    checking = query("old", "AAAA", want_dnssec=True)
    checking.flags |= dns.flags.CD
    assert texts(exchange(checking, dns64=Dns64())) == []
    assert texts(exchange(query("old", "AAAA", want_dnssec=True), dns64=Dns64())) == ["64:ff9b::c612:202"]


def test_a_client_with_a_zone_of_its_own() -> None:
    assert texts(exchange(query("server"), client=str(OTHER))) == ["10.7.7.7"]
    assert texts(exchange(query("server"))) == ["198.18.1.2"]


def test_addresses_come_in_the_order_of_the_record() -> None:
    addresses = texts(exchange(query("some"), is_udp=False))
    assert addresses == [f"10.2.0.{i + 1}" for i in range(50)]


def test_ptr() -> None:
    name = dns.name.Name((*reverse_name(ip_address("2001:db8:1:1::2")), b"")).to_text()
    assert texts(exchange(query(name, "PTR"))) == ["server."]


def test_edns_is_answered_with_edns() -> None:
    reply = exchange(query("server", use_edns=0, payload=4096))
    assert (reply.edns, reply.payload) == (0, 1232)
    assert exchange(query("server", use_edns=1)).rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize(
    ("name", "payload", "is_udp", "truncated"),
    [
        ("some", None, True, True),  # 50 records need 822 bytes
        ("some", 600, True, True),
        ("some", 100, True, True),  # less than 512 means 512 (RFC 6891, section 6.2.3)
        ("some", 1232, True, False),
        ("many", 65535, True, True),  # we send no more than 1,232 bytes
        ("some", None, False, False),
        ("many", None, False, False),
    ],
)
def test_truncation(name: str, payload: int | None, is_udp: bool, truncated: bool) -> None:
    message = query(name) if payload is None else query(name, use_edns=0, payload=payload)
    reply = exchange(message, is_udp=is_udp)
    assert bool(reply.flags & dns.flags.TC) is truncated
    assert reply.rcode() == dns.rcode.NOERROR
    addresses = [*next(record for record in RECORDS if record.name == name).addresses]
    if not truncated:
        assert texts(reply) == addresses
        return
    # As many as fit: one more would be 16 bytes more.
    limit = min(max(payload or 512, 512), 1232)
    assert limit - 16 < len(reply.to_wire()) <= limit
    assert texts(reply) == addresses[: len(texts(reply))]


def test_not_even_all_aliases_fit() -> None:
    reply = exchange(query(long_name("a")))
    assert reply.flags & dns.flags.TC
    assert [rrset.name.to_text() for rrset in reply.answer] == [f"{long_name('a')}."]
    assert reply.rcode() == dns.rcode.NXDOMAIN


def test_an_answer_too_large_for_a_stream_is_cut_as_well() -> None:
    reply = exchange(query("more"), is_udp=False)
    assert reply.flags & dns.flags.TC
    assert 4000 < len(texts(reply)) < 5000


@pytest.mark.parametrize(
    ("kind", "rdclass", "rcode"),
    [
        ("AXFR", dns.rdataclass.IN, dns.rcode.REFUSED),
        ("A", dns.rdataclass.CH, dns.rcode.REFUSED),
        ("A", dns.rdataclass.ANY, dns.rcode.NOERROR),
    ],
)
def test_what_is_refused(kind: str, rdclass: dns.rdataclass.RdataClass, rcode: dns.rcode.Rcode) -> None:
    assert exchange(query("server", kind, rdclass=rdclass)).rcode() == rcode


def test_other_operations_are_not_implemented() -> None:
    for opcode in (dns.opcode.STATUS, dns.opcode.NOTIFY):
        message = query("server")
        message.set_opcode(opcode)
        assert exchange(message).rcode() == dns.rcode.NOTIMP


def test_no_question_and_two_questions_are_malformed() -> None:
    none = query("server")
    none.question = []
    two = query("server")
    two.question.append(two.question[0])
    for message in (none, two):
        reply = exchange(message)
        assert (reply.rcode(), reply.answer) == (dns.rcode.FORMERR, [])


def test_bytes_that_cannot_be_read_are_malformed() -> None:
    whole = query("server").to_wire()
    reply = resolver().reply(whole[:-3], CLIENT)
    assert reply is not None
    decoded = dns.message.from_wire(reply)
    assert (decoded.id, decoded.rcode(), decoded.question) == (dns.message.from_wire(whole).id, dns.rcode.FORMERR, [])
    assert decoded.flags & dns.flags.QR


def test_replies_and_fragments_of_a_header_get_no_answer() -> None:
    reply = resolver().reply(query("server").to_wire(), CLIENT)
    assert reply is not None
    assert resolver().reply(reply, CLIENT) is None
    assert resolver().reply(b"\0" * 11, CLIENT) is None
    assert resolver().reply(b"", CLIENT) is None


@given(st.binary(max_size=100), st.sampled_from([b"", query("server").to_wire(), query("old", use_edns=0).to_wire()]))
def test_no_bytes_crash_the_resolver(tail: bytes, head: bytes) -> None:
    for data in (head + tail, head[:12] + tail):
        reply = resolver().reply(data, CLIENT)
        if reply is not None:
            assert reply[:2] == data[:2]
            dns.message.from_wire(reply)


def test_a_kept_reply_is_the_same_but_for_its_identifier() -> None:
    one = resolver()
    first, second = query("server"), query("server")
    second.id = first.id ^ 0xFFFF
    replies = [one.reply(message.to_wire(), CLIENT) for message in (first, second)]
    assert replies[0] is not None
    assert replies[1] == second.id.to_bytes(2) + replies[0][2:]
    # Neither another client's zone, nor DNS64, nor the transport may be mixed up with it.
    other = one.reply(first.to_wire(), OTHER)
    assert other is not None
    assert texts(dns.message.from_wire(other)) == ["10.7.7.7"]
    old = query("old", "AAAA").to_wire()
    assert one.reply(old, CLIENT) != one.reply(old, CLIENT, Dns64())
    many = query("many").to_wire()
    assert one.reply(many, CLIENT) != one.reply(many, CLIENT, is_udp=False)


def test_a_change_is_seen_by_the_next_query() -> None:
    one = resolver()
    wire = query("server").to_wire()
    one.reply(wire, CLIENT)
    one.change(Zone([NameRecord("server", ("198.18.1.99",))]), {})
    for client in (CLIENT, OTHER):
        reply = one.reply(wire, client)
        assert reply is not None
        assert texts(dns.message.from_wire(reply)) == ["198.18.1.99"]
