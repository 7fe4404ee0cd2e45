"""ICMP errors: types, codes, pointers and MTUs as RFC 7915 lists them, with the quoted packet translated."""

from __future__ import annotations

import pytest

from patchbay_runner.kernel.nat64.headers import Untranslatable
from tests.unit.nat64_packets import (
    CLIENT,
    FIRST_POOL_ADDRESS,
    HOST,
    HOST_V6,
    ICMP,
    ICMPV6,
    ROUTER,
    ROUTER_V6,
    TCP,
    UDP,
    assert_valid,
    icmp,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from tests.unit.test_nat64_translate import ECHO, to_ipv4, to_ipv6, translator

# What the client sent, and what the host did, as each side sees it.
SENT_V6 = ipv6(udp(b"question"), UDP)
SENT_V4 = ipv4(udp(b"question"), UDP, source=FIRST_POOL_ADDRESS, destination=HOST)
GOT_V4 = ipv4(udp(b"answer"), UDP)
GOT_V6 = ipv6(udp(b"answer"), UDP, source=HOST_V6, destination=CLIENT)


def error_v4(kind: int, code: int, rest: bytes = bytes(4), quoted: bytes = SENT_V4) -> bytes:
    return ipv4(icmp(kind, code, rest, quoted), ICMP, source=ROUTER)


def error_v6(kind: int, code: int, rest: bytes = bytes(4), quoted: bytes = GOT_V6) -> bytes:
    return ipv6(icmp(kind, code, rest, quoted), ICMPV6)


@pytest.mark.parametrize(
    ("v4", "v6"),
    [
        *(((3, code), (1, 0)) for code in (0, 1, 5, 6, 7, 8, 11, 12)),
        *(((3, code), (1, 1)) for code in (9, 10, 13, 15)),
        ((3, 3), (1, 4)),
        ((11, 0), (3, 0)),
        ((11, 1), (3, 1)),
    ],
)
def test_errors_of_ipv4_routers(v4: tuple[int, int], v6: tuple[int, int]) -> None:
    received = to_ipv6(error_v4(*v4))
    assert_valid(received)
    assert received[8:24] == ROUTER_V6
    assert received[24:40] == CLIENT
    assert (received[40], received[41], received[44:48]) == (*v6, bytes(4))
    quoted = received[48:]
    assert_valid(quoted)
    assert (quoted[8:24], quoted[24:40], quoted[48:]) == (CLIENT, HOST_V6, SENT_V6[48:])


@pytest.mark.parametrize(
    ("v6", "v4"),
    [
        *(((1, code), (3, 1)) for code in (0, 2, 3)),
        ((1, 1), (3, 10)),
        ((1, 4), (3, 3)),
        ((3, 0), (11, 0)),
        ((3, 1), (11, 1)),
        ((4, 1), (3, 2)),
    ],
)
def test_errors_of_ipv6_hosts(v6: tuple[int, int], v4: tuple[int, int]) -> None:
    sent = to_ipv4(error_v6(*v6))
    assert_valid(sent)
    assert (sent[12:16], sent[16:20]) == (FIRST_POOL_ADDRESS, HOST)
    assert (sent[20], sent[21], sent[24:28]) == (*v4, bytes(4))
    quoted = sent[28:]
    assert_valid(quoted)
    assert (quoted[12:16], quoted[16:20], quoted[28:]) == (HOST, FIRST_POOL_ADDRESS, GOT_V4[28:])
    assert quoted[6:8] == b"\x40\0"


def test_an_unknown_protocol_points_at_the_next_header() -> None:
    received = to_ipv6(error_v4(3, 2))
    assert (received[40], received[41], received[44:48]) == (4, 1, b"\0\0\0\x06")


@pytest.mark.parametrize(
    ("v4", "v6"),
    [(0, 0), (1, 1), (2, 4), (3, 4), (8, 7), (9, 6), (12, 8), (15, 8), (16, 24), (19, 24), (4, None), (10, None)],
)
def test_pointers_of_ipv4(v4: int, v6: int | None) -> None:
    packet = error_v4(12, 0, bytes((v4, 0, 0, 0)))
    if v6 is None:
        with pytest.raises(Untranslatable, match="icmp_type"):
            to_ipv6(packet)
    else:
        received = to_ipv6(packet)
        assert (received[40], received[41], received[44:48]) == (4, 0, v6.to_bytes(4))


@pytest.mark.parametrize(
    ("v6", "v4"),
    [(0, 0), (1, 1), (4, 2), (5, 2), (6, 9), (7, 8), (8, 12), (23, 12), (24, 16), (39, 16), (2, None), (40, None)],
)
def test_pointers_of_ipv6(v6: int, v4: int | None) -> None:
    packet = error_v6(4, 0, v6.to_bytes(4))
    if v4 is None:
        with pytest.raises(Untranslatable, match="icmp_type"):
            to_ipv4(packet)
    else:
        sent = to_ipv4(packet)
        assert (sent[20], sent[21], sent[24:28]) == (12, 0, bytes((v4, 0, 0, 0)))


@pytest.mark.parametrize(
    ("told", "config", "expected"),
    [
        (1400, {}, 1420),
        (1480, {}, 1500),
        (9000, {}, 1500),
        (9000, {"lan_mtu": 9000, "wan_mtu": 1500}, 1520),
        (576, {}, 1280),
    ],
)
def test_fragmentation_needed_becomes_packet_too_big(told: int, config: dict[str, int], expected: int) -> None:
    received = to_ipv6(error_v4(3, 4, bytes(2) + told.to_bytes(2)), **config)
    assert_valid(received)
    assert (received[40], received[41], int.from_bytes(received[44:48])) == (2, 0, expected)


@pytest.mark.parametrize(("length", "expected"), [(1500, 1492 + 20), (1006, 1280), (60, 1280)])
def test_an_old_router_tells_no_mtu(length: int, expected: int) -> None:
    """RFC 1191: the next plateau below the length of the quoted packet."""
    quoted = SENT_V4[:2] + length.to_bytes(2) + SENT_V4[4:]
    received = to_ipv6(error_v4(3, 4, quoted=quoted), lan_mtu=9000, wan_mtu=9000)
    assert int.from_bytes(received[44:48]) == expected


@pytest.mark.parametrize(
    ("told", "config", "expected"),
    [(1280, {}, 1260), (1400, {}, 1380), (9000, {}, 1480), (9000, {"lan_mtu": 9000}, 1500)],
)
def test_packet_too_big_becomes_fragmentation_needed(told: int, config: dict[str, int], expected: int) -> None:
    sent = to_ipv4(error_v6(2, 0, told.to_bytes(4)), **config)
    assert_valid(sent)
    assert (sent[20], sent[21], int.from_bytes(sent[24:28])) == (3, 4, expected)


@pytest.mark.parametrize(
    ("protocol", "payload"), [(TCP, tcp(b"x" * 40)), (UDP, udp(b"x" * 40)), (ICMP, icmp(8, 0, ECHO, b"x" * 40))]
)
@pytest.mark.parametrize("kept", [20, 27, 28, 40, 100])
def test_quoted_packets_may_be_cut(protocol: int, payload: bytes, kept: int) -> None:
    """Routers quote what they like: eight octets behind the header, or less when they are broken."""
    whole = ipv4(payload, protocol, source=FIRST_POOL_ADDRESS, destination=HOST)
    if protocol == ICMP and kept < 28:
        with pytest.raises(Untranslatable, match="malformed"):
            to_ipv6(error_v4(11, 0, quoted=whole[:kept]))
        return
    received = to_ipv6(error_v4(11, 0, quoted=whole[:kept]))
    assert_valid(received)
    quoted = received[48:]
    assert len(quoted) == min(kept, len(whole)) + 20
    # The header still says how long the packet was.
    assert int.from_bytes(quoted[4:6]) == len(payload)


def test_a_quoted_echo_is_translated_too() -> None:
    ping = ipv4(icmp(8, 0, ECHO, b"data"), ICMP, source=FIRST_POOL_ADDRESS, destination=HOST)
    quoted = to_ipv6(error_v4(11, 0, quoted=ping))[48:]
    assert_valid(quoted)
    assert (quoted[6], quoted[40], quoted[44:]) == (ICMPV6, 128, ECHO + b"data")


def test_a_quoted_fragment_keeps_its_place() -> None:
    fragment = ipv4(
        b"z" * 24, UDP, source=FIRST_POOL_ADDRESS, destination=HOST, cut=0x2005, identification=77, checksum=False
    )
    quoted = to_ipv6(error_v4(11, 1, quoted=fragment))[48:]
    assert quoted[6] == 44
    assert quoted[40:48] == bytes((UDP, 0)) + (40 | 1).to_bytes(2) + (77).to_bytes(4)
    header = bytes((UDP, 0)) + (40 | 1).to_bytes(2) + (0x1234004D).to_bytes(4)
    back = ipv6(b"z" * 24, UDP, source=HOST_V6, destination=CLIENT, extensions=header, first_header=44, checksum=False)
    quoted = to_ipv4(error_v6(3, 1, quoted=back))[28:]
    assert (quoted[4:6], quoted[6:8]) == (b"\0\x4d", b"\x20\x05")


def test_errors_stay_as_small_as_errors_have_to_be() -> None:
    large = ipv4(udp(b"x" * 1400), UDP, source=FIRST_POOL_ADDRESS, destination=HOST)
    received = to_ipv6(error_v4(3, 3, quoted=large))
    assert_valid(received)
    assert len(received) == 1280
    large = ipv6(udp(b"x" * 1200), UDP, source=HOST_V6, destination=CLIENT)
    sent = to_ipv4(error_v6(1, 4, quoted=large))
    assert_valid(sent)
    assert len(sent) == 576


def test_extensions_of_errors_are_left_out() -> None:
    """RFC 4884: the length of the quoted packet stands in the header, padded; something else follows."""
    quoted = SENT_V4 + bytes(128 - len(SENT_V4))
    received = to_ipv6(error_v4(11, 0, bytes((0, 32, 0, 0)), quoted + b"\x20\0\xde\xad extension"))
    assert received[48:][: len(SENT_V6)][48:] == SENT_V6[48:]
    assert len(received) == 48 + len(SENT_V6)
    padded = GOT_V6 + bytes(128 - len(GOT_V6))
    sent = to_ipv4(error_v6(3, 0, bytes((16, 0, 0, 0)), padded + b"\x20\0\xde\xad extension"))
    assert len(sent) == 28 + len(GOT_V4)


def test_only_some_errors_have_extensions() -> None:
    """The same octet is part of the MTU in others."""
    sent = to_ipv4(error_v6(2, 0, (1 << 24).to_bytes(4), GOT_V6))
    assert len(sent) == 28 + len(GOT_V4)


def test_errors_of_the_lans_router_come_from_an_address_too() -> None:
    """A packet-too-big of the router itself: its address is given one of the pool, like a client's."""
    made = translator()
    router = bytes.fromhex("20010db8000100010000000000000001")
    (sent,) = made.to_ipv4(ipv6(icmp(2, 0, (1280).to_bytes(4), GOT_V6), ICMPV6, source=router), 0)
    assert_valid(sent)
    assert sent[12:16] == b"\xf0\0\0\x02"


@pytest.mark.parametrize("packet", [error_v4(3, 14), error_v4(4, 0), error_v4(5, 0), error_v4(12, 1), error_v6(1, 9)])
def test_messages_without_an_equivalent_are_dropped(packet: bytes) -> None:
    with pytest.raises(Untranslatable, match="icmp_type"):
        to_ipv6(packet) if packet[0] >> 4 == 4 else to_ipv4(packet)


def test_errors_about_errors_are_dropped() -> None:
    inner = ipv4(icmp(3, 3, bytes(4), SENT_V4), ICMP, source=FIRST_POOL_ADDRESS, destination=HOST)
    with pytest.raises(Untranslatable, match="icmp_type"):
        to_ipv6(error_v4(3, 3, quoted=inner))


@pytest.mark.parametrize("packet", [error_v4(3, 3), error_v6(1, 4)])
def test_corrupt_errors_are_dropped(packet: bytes) -> None:
    """They get a checksum of their own, which would hide the corruption."""
    corrupt = packet[:-1] + bytes((packet[-1] ^ 1,))
    with pytest.raises(Untranslatable, match="checksum"):
        to_ipv6(corrupt) if packet[0] >> 4 == 4 else to_ipv4(corrupt)


def test_an_error_about_somebody_elses_packet_is_dropped() -> None:
    stranger = ipv4(udp(b"?"), UDP, source=b"\xf0\0\x20\x01", destination=HOST)
    with pytest.raises(Untranslatable, match="address"):
        to_ipv6(error_v4(3, 3, quoted=stranger))
    with pytest.raises(Untranslatable, match="address"):
        to_ipv4(error_v6(1, 4, quoted=ipv6(udp(b"?"), UDP, source=HOST_V6, destination=CLIENT[:-1] + b"\x99")))
    with pytest.raises(Untranslatable, match="address"):
        to_ipv4(error_v6(1, 4, quoted=SENT_V6))
