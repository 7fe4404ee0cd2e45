"""Packets of one version become the packets of the other that RFC 7915 describes, with right checksums."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.nat64.headers import Untranslatable
from patchbay_runner.kernel.nat64.translate import Translator
from tests.unit.nat64_packets import (
    CLIENT,
    FIRST_POOL_ADDRESS,
    HOST,
    HOST_V6,
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    assert_valid,
    icmp,
    internet_checksum,
    ipv4,
    ipv6,
    pseudo_header,
    tcp,
    udp,
)

PAYLOADS = {TCP: tcp, UDP: udp}
ECHO = b"\x12\x34\x00\x01"


def translator(**config: int) -> Translator:
    """One that knows the client already, so that answers find it."""
    made = Translator(Nat64Config(**config))  # type: ignore[arg-type]  # MTUs only
    made.to_ipv4(ipv6(udp(b"hello"), UDP), 0)
    return made


def to_ipv4(packet: bytes, **config: int) -> bytes:
    (translated,) = translator(**config).to_ipv4(packet, 0)
    return translated


def to_ipv6(packet: bytes, **config: int) -> bytes:
    (translated,) = translator(**config).to_ipv6(packet, 0)
    return translated


def refused(packet: bytes) -> str:
    made = translator()
    with pytest.raises(Untranslatable) as refusal:
        made.to_ipv4(packet, 0) if packet[0] >> 4 == 6 else made.to_ipv6(packet, 0)
    return refusal.value.cause


@given(
    protocol=st.sampled_from([TCP, UDP]),
    data=st.binary(max_size=1400),
    hops=st.integers(1, 254),
    traffic_class=st.integers(0, 255),
)
def test_a_segment_goes_there_and_comes_back(protocol: int, data: bytes, hops: int, traffic_class: int) -> None:
    payload = PAYLOADS[protocol](data)
    sent = to_ipv4(ipv6(payload, protocol, hops=hops, traffic_class=traffic_class))
    assert_valid(sent)
    assert (sent[12:16], sent[16:20]) == (FIRST_POOL_ADDRESS, HOST)
    assert (sent[1], sent[8], sent[9]) == (traffic_class, hops + 1, protocol)
    assert sent[28:36] == ipv6(payload, protocol)[48:56]
    answer = ipv4(payload, protocol, hops=hops, tos=traffic_class)
    received = to_ipv6(answer)
    assert_valid(received)
    assert (received[8:24], received[24:40]) == (HOST_V6, CLIENT)
    assert (int.from_bytes(received[:4]), received[7]) == (6 << 28 | traffic_class << 20, hops + 1)
    assert received[40:46] == answer[20:26]


def test_hop_limits_do_not_wrap() -> None:
    assert to_ipv4(ipv6(udp(), UDP, hops=255))[8] == 255
    assert to_ipv6(ipv4(udp(), UDP, hops=255))[7] == 255


@given(data=st.binary(max_size=300), corrupted=st.integers(0, 7))
def test_a_wrong_checksum_stays_wrong(data: bytes, corrupted: int) -> None:
    """Corruption on one side is for the other to find."""
    packet = bytearray(ipv6(udp(data), UDP))
    packet[40 + corrupted % 4] ^= 0x55
    sent = to_ipv4(bytes(packet))
    assert internet_checksum(pseudo_header(sent[12:16], sent[16:20], UDP, len(sent) - 20) + sent[20:]) != 0


@pytest.mark.parametrize(("size", "unfragmentable"), [(1280, False), (1281, True), (1500, True)])
def test_packets_that_ipv6_hosts_cannot_make_smaller_may_be_fragmented(size: int, unfragmentable: bool) -> None:
    made = translator()
    packet = ipv6(udp(bytes(size - 48)), UDP)
    first, second = (made.to_ipv4(packet, 0)[0] for _ in range(2))
    assert bool(first[6] & 0x40) is unfragmentable
    assert (first[4:6] != second[4:6]) is not unfragmentable


@pytest.mark.parametrize(
    ("packet", "header", "sent_header"), [(ipv6(tcp(b"x" * 3000), TCP), 40, 20), (ipv4(tcp(b"x" * 3000), TCP), 20, 40)]
)
def test_partial_checksums_stay_partial(packet: bytes, header: int, sent_header: int) -> None:
    """What a device is to complete: the sum of the pseudo-header, not inverted."""
    field = header + 16
    partial = packet[:field] + _pseudo_header_sum(packet, header).to_bytes(2) + packet[field + 2 :]
    made = translator()
    translate = made.to_ipv4 if header == 40 else made.to_ipv6
    (sent,) = translate(partial, 0, partial=True, segment=1448)
    found = int.from_bytes(sent[sent_header + 16 : sent_header + 18])
    assert found % 0xFFFF == _pseudo_header_sum(sent, sent_header) % 0xFFFF


@pytest.mark.parametrize(("segment", "unfragmentable"), [(1240, False), (1241, True)])
def test_unsegmented_packets_are_judged_by_their_segments(segment: int, unfragmentable: bool) -> None:
    made = translator()
    (sent,) = made.to_ipv4(ipv6(tcp(b"x" * 20_000), TCP), 0, partial=True, segment=segment)
    assert bool(sent[6] & 0x40) is unfragmentable
    (received,) = made.to_ipv6(ipv4(tcp(b"x" * 20_000), TCP, cut=0), 0, partial=True, segment=segment)
    assert len(received) == 40 + 20 + 20_000


def test_a_partial_sum_of_zero_is_no_absent_checksum() -> None:
    packet = ipv4(udp(b"x" * 100), UDP, checksum=False)
    (received,) = translator().to_ipv6(packet, 0, partial=True, segment=50)
    change = sum(int.from_bytes(received[at : at + 2]) for at in range(8, 40, 2))
    change -= sum(int.from_bytes(packet[at : at + 2]) for at in range(12, 20, 2))
    assert int.from_bytes(received[46:48]) == change % 0xFFFF


def test_clamping_leaves_a_partial_checksum_alone() -> None:
    """The device sums the options when it completes it."""
    plain, large = (tcp(flags=2, options=b"\x02\x04" + size.to_bytes(2)) for size in (1440, 9000))
    sums = {
        translator().to_ipv4(ipv6(syn, TCP, checksum=False), 0, partial=True, segment=1)[0][36:38]
        for syn in (plain, large)
    }
    assert len(sums) == 1


def test_what_looks_like_a_syn_inside_a_fragment_is_data() -> None:
    data = tcp(flags=2, options=b"\x02\x04\xff\xff") + bytes(8)
    received = to_ipv6(ipv4(data, TCP, cut=0x2010, checksum=False))
    assert received[48:] == data


def _pseudo_header_sum(packet: bytes, header: int) -> int:
    addresses = packet[8:40] if header == 40 else packet[12:20]
    half = len(addresses) // 2
    covered = pseudo_header(addresses[:half], addresses[half:], TCP, len(packet) - header)
    return internet_checksum(covered) ^ 0xFFFF


def test_udp_without_a_checksum_gets_one_for_ipv6() -> None:
    packet = ipv4(udp(b"odd"), UDP, checksum=False)
    assert_valid(to_ipv6(packet))


def test_unsummed_udp_of_ipv6_stays_unsummed() -> None:
    sent = to_ipv4(ipv6(udp(b"tunnel"), UDP, checksum=False))
    assert sent[26:28] == b"\0\0"


@pytest.mark.parametrize(
    ("config", "announced", "expected"),
    [
        ({}, 1440, 1440),
        ({}, 8960, 1440),
        ({}, 536, 536),
        ({"wan_mtu": 1400}, 1440, 1360),
        ({"lan_mtu": 1280}, 1440, 1220),
    ],
)
@pytest.mark.parametrize("padding", [b"", b"\x01", b"\x01\x01\x03\x03\x07"])
def test_the_largest_segment_fits_both_sides(
    config: dict[str, int], announced: int, expected: int, padding: bytes
) -> None:
    options = padding + b"\x02\x04" + announced.to_bytes(2)
    options += b"\x01" * (-len(options) % 4)
    at = 20 + len(padding) + 2
    for flags in (0x02, 0x12):
        syn = tcp(flags=flags, options=options)
        sent, received = to_ipv4(ipv6(syn, TCP), **config), to_ipv6(ipv4(syn, TCP), **config)
        assert_valid(sent)
        assert_valid(received)
        assert int.from_bytes(sent[20 + at : 22 + at]) == expected
        assert int.from_bytes(received[40 + at : 42 + at]) == expected


@pytest.mark.parametrize(
    "options", [b"\x01\x01\x02\x04", b"\x01\x01\x01\x02", b"\x05\x00\x00\x00", b"\x02\x08\xff\xff"]
)
def test_broken_tcp_options_are_left_alone(options: bytes) -> None:
    options += b"\0" * (-len(options) % 4)
    sent = to_ipv4(ipv6(tcp(flags=0x02, options=options), TCP))
    assert_valid(sent)
    assert sent[40:] == options


def test_only_a_syn_is_clamped() -> None:
    options = b"\x02\x04\xff\xff"
    assert to_ipv4(ipv6(tcp(b"", options=options), TCP))[40:] == options


@pytest.mark.parametrize(("v6", "v4"), [(128, 8), (129, 0)])
@given(data=st.binary(max_size=1400))
def test_echo(v6: int, v4: int, data: bytes) -> None:
    sent = to_ipv4(ipv6(icmp(v6, 0, ECHO, data), ICMPV6))
    assert_valid(sent)
    assert sent[20:22] == bytes((v4, 0))
    assert sent[24:] == ECHO + data
    received = to_ipv6(ipv4(icmp(v4, 0, ECHO, data), ICMP))
    assert_valid(received)
    assert received[40:42] == bytes((v6, 0))
    assert received[44:] == ECHO + data


def test_extension_headers_are_left_out() -> None:
    hop_by_hop = bytes((60, 0, 1, 4, 0, 0, 0, 0))
    options = bytes((43, 1, 1, 12)) + bytes(12)
    used_up_route = bytes((TCP, 0, 0, 0)) + bytes(4)
    packet = ipv6(tcp(b"data"), TCP, extensions=hop_by_hop + options + used_up_route, first_header=0)
    sent = to_ipv4(packet)
    assert_valid(sent)
    assert sent[40:] == b"data"


@pytest.mark.parametrize(
    "options",
    [b"\x94\x04\0\0" + b"\x83\x07\x08\x01\x02\x03\x04\x00", b"\x44\0\0\0", b"\x01\x01\x01\x83", b"\0\x83\x07\x04"],
)
def test_ipv4_options_are_left_out(options: bytes) -> None:
    """A source route that is used up, options of no length, a cut one, one behind the end of the list."""
    received = to_ipv6(ipv4(tcp(b"data"), TCP, options=options))
    assert_valid(received)
    assert received[60:] == b"data"


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (ipv6(tcp(), TCP)[:39], "malformed"),
        (ipv6(tcp(), TCP)[:-1], "malformed"),
        (ipv6(tcp()[:17], TCP, checksum=False), "malformed"),
        (ipv6(tcp(), TCP, extensions=bytes((TCP, 200, 0, 0)) + bytes(4), first_header=60), "malformed"),
        (ipv6(tcp(), TCP, extensions=bytes((TCP, 0, 0, 1)) + bytes(4), first_header=43), "source_route"),
        (ipv6(tcp(), TCP, source=HOST_V6), "address"),
        (ipv6(tcp(), TCP, source=b"\xff\x02" + bytes(14)), "address"),
        (ipv6(tcp(), TCP, destination=CLIENT), "address"),
        (ipv6(tcp(), TCP, destination=HOST_V6[:12] + FIRST_POOL_ADDRESS), "address"),
        (ipv6(b"\0" * 20, 132, checksum=False), "protocol"),
        (ipv6(icmp(135, 0, bytes(4), bytes(16)), ICMPV6), "icmp_type"),
        (ipv6(b"\x80\0", ICMPV6, checksum=False), "malformed"),
        (ipv4(tcp(), TCP)[:19], "malformed"),
        (ipv4(tcp(), TCP)[:-1], "malformed"),
        (b"\x44" + ipv4(tcp(), TCP)[1:], "malformed"),
        (ipv4(tcp(), TCP, options=b"\x83\x07\x04\x01\x02\x03\x04\x00"), "source_route"),
        (ipv4(tcp(), TCP, destination=b"\xf0\0\0\x09"), "address"),
        (ipv4(tcp(), TCP, source=b"\xf0\0\0\x09"), "address"),
        (ipv4(b"\0" * 20, 47, checksum=False), "protocol"),
        (ipv4(icmp(13, 0, bytes(4), bytes(12)), ICMP), "icmp_type"),
    ],
)
def test_what_cannot_be_translated_says_why(packet: bytes, cause: str) -> None:
    assert refused(packet) == cause


@given(st.binary(max_size=200), st.sampled_from([0x45, 0x60, 0x46]))
def test_no_packet_does_more_than_be_refused(data: bytes, first: int) -> None:
    made = translator()
    packet = bytes((first,)) + data
    with suppress(Untranslatable):
        made.to_ipv4(packet, 0) if first == 0x60 else made.to_ipv6(packet, 0)


@given(st.data())
def test_no_truncated_or_damaged_packet_does_either(data: st.DataObject) -> None:
    quoted = ipv4(udp(b"quoted"), UDP, source=FIRST_POOL_ADDRESS, destination=HOST)
    back = ipv6(udp(b"quoted"), UDP, source=HOST_V6, destination=CLIENT)
    packets = [
        ipv6(tcp(b"x", flags=2, options=b"\x02\x04\xff\xff"), TCP),
        ipv4(icmp(3, 4, b"\0\0\x05\0", quoted), ICMP),
        ipv6(icmp(2, 0, b"\0\0\x05\0", back), ICMPV6),
        ipv6(udp(b"y" * 20), UDP, extensions=bytes((UDP, 0, 0, 1, 0, 0, 0, 1)), first_header=44),
    ]
    packet = bytearray(data.draw(st.sampled_from(packets)))
    for at in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=4)):
        packet[at] = data.draw(st.integers(0, 255))
    packet = packet[: data.draw(st.integers(1, len(packet)))]
    made = translator()
    try:
        for translate in (made.to_ipv4, made.to_ipv6):
            translate(bytes(packet), 0)
    except Untranslatable as refusal:
        assert refusal.cause
