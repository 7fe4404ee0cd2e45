"""What names stand for, which exist, and what a question brings: no messages, no sockets."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.errors import LabError
from patchbay_runner.kernel.dns import WELL_KNOWN, Dns64, Zone
from patchbay_runner.kernel.dns.lookup import Code, Kind, Outcome, look_up, reverse_name
from patchbay_runner.kernel.dns.zone import labels_of
from patchbay_runner.model.names import NameRecord

DNS64 = Dns64()
SERVER_V4, SERVER_V6 = "198.18.1.2", "2001:db8:1:1::2"

BASE = Zone(
    [
        *WELL_KNOWN,
        NameRecord("server", (SERVER_V4, SERVER_V6)),
        NameRecord("eth0.server", (SERVER_V4, SERVER_V6)),
        NameRecord("old", ("198.18.2.2",)),
        NameRecord("new", ("2001:db8:1:3::2",)),
        NameRecord("fetcher", ("10.0.1.2", "10.0.1.3")),
        NameRecord("www.example.com", alias="server"),
        NameRecord("cdn.example.com", alias="www.example.com"),
        NameRecord("broken.example.com", alias="nothing.example.com"),
        NameRecord("*.wild.example", ("198.18.9.9",)),
        NameRecord("deep.real.wild.example", ("198.18.9.8",)),
        NameRecord("a.loop", alias="b.loop"),
        NameRecord("b.loop", alias="a.loop"),
    ]
)


def ask(name: str, kind: Kind | int, zone: Zone = BASE, dns64: Dns64 | None = None) -> Outcome:
    return look_up(zone, labels_of(name), kind, dns64)


def values(outcome: Outcome) -> list[str]:
    """What the records say, as texts, aliases included."""
    return [
        value.decode() if isinstance(value, bytes) else str(value)
        for record in outcome.records
        for value in (b".".join(v) if isinstance(v, tuple) else v for v in record.values)
    ]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("server", Kind.A, [SERVER_V4]),
        ("server", Kind.AAAA, [SERVER_V6]),
        ("SeRVer.", Kind.A, [SERVER_V4]),
        ("server", Kind.ANY, [SERVER_V4, SERVER_V6]),
        ("fetcher", Kind.A, ["10.0.1.2", "10.0.1.3"]),
        ("localhost", Kind.AAAA, ["::1"]),
        ("www.example.com", Kind.A, ["server", SERVER_V4]),
        ("cdn.example.com", Kind.AAAA, ["www.example.com", "server", SERVER_V6]),
        ("cdn.example.com", Kind.CNAME, ["www.example.com"]),
        ("any.wild.example", Kind.A, ["198.18.9.9"]),
        ("far.below.wild.example", Kind.A, ["198.18.9.9"]),
        ("deep.real.wild.example", Kind.A, ["198.18.9.8"]),
        ("ipv4only.arpa", Kind.A, ["192.0.0.170", "192.0.0.171"]),
    ],
)
def test_answers(name: str, kind: Kind, expected: list[str]) -> None:
    outcome = ask(name, kind)
    assert (outcome.code, values(outcome)) == (Code.NOERROR, expected)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        ("old", Kind.AAAA, Code.NOERROR),
        ("new", Kind.A, Code.NOERROR),
        ("server", 16, Code.NOERROR),  # TXT
        ("server", 65, Code.NOERROR),  # HTTPS, which browsers and curl ask for
        ("ipv4only.arpa", Kind.AAAA, Code.NOERROR),
        ("example.com", Kind.A, Code.NOERROR),  # exists because something is below
        ("com", Kind.A, Code.NOERROR),
        ("arpa", Kind.A, Code.NOERROR),
        ("real.wild.example", Kind.A, Code.NOERROR),
        ("nobody", Kind.A, Code.NXDOMAIN),
        ("server.example.com", Kind.A, Code.NXDOMAIN),
        ("x.server", Kind.A, Code.NXDOMAIN),
        ("other.real.wild.example", Kind.A, Code.NXDOMAIN),  # a closer name than the wildcard's exists
        ("wild.example", Kind.A, Code.NOERROR),
        ("a.loop", Kind.A, Code.SERVFAIL),
    ],
)
def test_names_without_such_a_record_and_names_that_are_none(name: str, kind: int, code: Code) -> None:
    assert ask(name, kind) == Outcome(code)


def test_an_alias_of_nothing_is_shown_with_the_code_of_its_target() -> None:
    outcome = ask("broken.example.com", Kind.A)
    assert (outcome.code, values(outcome)) == (Code.NXDOMAIN, ["nothing.example.com"])


def test_the_root_exists_and_has_nothing() -> None:
    assert look_up(BASE, (), Kind.A) == Outcome(Code.NOERROR)


@pytest.mark.parametrize(
    ("address", "name"), [(SERVER_V4, "server"), (SERVER_V6, "server"), ("127.0.0.1", "localhost")]
)
def test_reverse_names_lead_to_the_first_name_of_an_address(address: str, name: str) -> None:
    reverse = reverse_name(ip_address(address))
    assert values(look_up(BASE, reverse, Kind.PTR)) == [name]
    assert look_up(BASE, reverse, Kind.A) == Outcome(Code.NOERROR)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("9.9.9.9.in-addr.arpa", Code.NXDOMAIN),
        ("2.1.18.in-addr.arpa", Code.NOERROR),
        ("in-addr.arpa", Code.NOERROR),
        ("8.b.d.0.1.0.0.2.ip6.arpa", Code.NOERROR),
        ("5.2.1.18.198.in-addr.arpa", Code.NXDOMAIN),
        ("2.1.18.0198.in-addr.arpa", Code.NXDOMAIN),
        ("2.1.18.x.in-addr.arpa", Code.NXDOMAIN),
        ("2.1.18.300.in-addr.arpa", Code.NXDOMAIN),
        ("z" + ".0" * 31 + ".ip6.arpa", Code.NXDOMAIN),
        ("00" + ".0" * 31 + ".ip6.arpa", Code.NXDOMAIN),
        ("9.9.18.198.in-addr.arpa", Code.NXDOMAIN),  # a wildcard's address names nobody
    ],
)
def test_reverse_names_that_lead_nowhere(name: str, code: Code) -> None:
    assert ask(name, Kind.PTR) == Outcome(code)


@given(st.ip_addresses())
def test_every_address_is_found_by_its_reverse_name(address: IPv4Address | IPv6Address) -> None:
    zone = Zone([NameRecord("it", (str(address),))])
    assert values(look_up(zone, reverse_name(address), Kind.PTR)) == ["it"]


def test_dns64_makes_addresses_for_what_has_only_ipv4() -> None:
    assert values(ask("old", Kind.AAAA, dns64=DNS64)) == ["64:ff9b::c612:202"]
    assert values(ask("server", Kind.AAAA, dns64=DNS64)) == [SERVER_V6]
    assert values(ask("old", Kind.A, dns64=DNS64)) == ["198.18.2.2"]
    assert values(ask("old", Kind.ANY, dns64=DNS64)) == ["198.18.2.2"]
    assert values(ask("ipv4only.arpa", Kind.AAAA, dns64=DNS64)) == ["64:ff9b::c000:aa", "64:ff9b::c000:ab"]
    assert ask("nobody", Kind.AAAA, dns64=DNS64) == Outcome(Code.NXDOMAIN)


def test_dns64_follows_aliases() -> None:
    zone = Zone([NameRecord("www", alias="old")], BASE)
    assert values(ask("www", Kind.AAAA, zone, DNS64)) == ["old", "64:ff9b::c612:202"]


def test_dns64_embeds_nothing_that_stays_on_a_host() -> None:
    zone = Zone([NameRecord("self", ("127.0.0.2", "169.254.1.1", "224.0.0.1", "10.0.0.1"))])
    assert values(ask("self", Kind.AAAA, zone, DNS64)) == ["64:ff9b::a00:1"]


def test_dns64_names_what_is_behind_the_translator() -> None:
    outcome = look_up(BASE, reverse_name(IPv6Address("64:ff9b::c612:202")), Kind.PTR, DNS64)
    assert (outcome.code, values(outcome)) == (Code.NOERROR, ["2.2.18.198.in-addr.arpa", "old"])
    assert look_up(BASE, reverse_name(IPv6Address("64:ff9b::c612:202")), Kind.PTR).code is Code.NXDOMAIN


@given(st.ip_addresses(v=4))
def test_dns64_embeds_and_extracts(address: IPv4Address) -> None:
    embedded = DNS64.embed(address)
    if embedded is None:
        assert (
            address.is_loopback
            or address.is_link_local
            or address.is_multicast
            or not int(address) >> 24
            or (int(address) >> 28 == 15)
        )
    else:
        assert DNS64.extract(embedded) == address
        assert Dns64(IPv6Network("2001:db8:64::/96")).extract(embedded) is None


def test_dns64_wants_a_prefix_of_96_bits() -> None:
    with pytest.raises(ValueError, match="not a /96"):
        Dns64(IPv6Network("64:ff9b::/64"))


def test_a_devices_entries_replace_the_labs_whole() -> None:
    own = Zone([NameRecord("server", ("10.9.9.9",)), NameRecord("mine.example.com", ("10.9.9.8",))], BASE)
    assert values(ask("server", Kind.A, own)) == ["10.9.9.9"]
    assert ask("server", Kind.AAAA, own) == Outcome(Code.NOERROR)
    assert values(ask("mine.example.com", Kind.A, own)) == ["10.9.9.8"]
    assert values(ask("www.example.com", Kind.A, own)) == ["server", "10.9.9.9"]
    assert values(ask("old", Kind.A, own)) == ["198.18.2.2"]
    assert ask("mine.example.com", Kind.A).code is Code.NXDOMAIN
    # The address has lost its name here, and only here.
    assert look_up(own, reverse_name(ip_address(SERVER_V4)), Kind.PTR).code is Code.NXDOMAIN
    assert look_up(BASE, reverse_name(ip_address(SERVER_V4)), Kind.PTR).code is Code.NOERROR


def test_a_devices_wildcard_does_not_hide_the_labs_names() -> None:
    captive = Zone([NameRecord("*", ("10.0.0.1",))], BASE)
    assert values(ask("anything.at.all", Kind.A, captive)) == ["10.0.0.1"]
    assert values(ask("server", Kind.A, captive)) == [SERVER_V4]


def test_names_that_are_not_ascii_are_asked_by_their_idna_form() -> None:
    zone = Zone([NameRecord("bücher", ("10.0.0.1",))])
    assert values(ask("xn--bcher-kva", Kind.A, zone)) == ["10.0.0.1"]


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (NameRecord("x"), "either addresses or one alias"),
        (NameRecord("x", ("10.0.0.1",), alias="y"), "either addresses or one alias"),
        (NameRecord("server", alias="y"), "either addresses or one alias"),
        (NameRecord("x", ("10.0.0",)), "the name 'x': Expected 4 octets"),
        (NameRecord("", ("10.0.0.1",)), "1 to 63 bytes"),
        (NameRecord("a..b", ("10.0.0.1",)), "1 to 63 bytes"),
        (NameRecord("a" * 64, ("10.0.0.1",)), "1 to 63 bytes"),
        (NameRecord(".".join(["a" * 60] * 5), ("10.0.0.1",)), "more than 253 bytes"),
        (NameRecord("ü" * 63, ("10.0.0.1",)), "cannot be a DNS name"),
        (NameRecord("x", alias="a..b"), "1 to 63 bytes"),
    ],
)
def test_records_that_contradict_themselves(record: NameRecord, problem: str) -> None:
    with pytest.raises(LabError, match=problem):
        Zone([NameRecord("server", ("10.0.0.2",)), record])
