"""Fragments: translated one by one, cut for IPv6, and ICMP put together, with bounded memory."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.nat64.fragments import MAX_DATAGRAMS, TIMEOUT_S, Reassembler, cut_for_ipv6
from patchbay_runner.kernel.nat64.headers import Datagram, Fragment, Untranslatable
from tests.unit.nat64_packets import (
    CLIENT,
    FIRST_POOL_ADDRESS,
    HOST,
    HOST_V6,
    ICMP,
    ICMPV6,
    UDP,
    assert_valid,
    icmp,
    ipv4,
    ipv6,
    udp,
    with_checksum,
)
from tests.unit.test_nat64_translate import ECHO, to_ipv4, to_ipv6, translator

IDENTIFICATION = 0x1234ABCD


def fragments_v6(payload: bytes, protocol: int, size: int) -> list[bytes]:
    payload = with_checksum(CLIENT, HOST_V6, protocol, payload)
    packets = []
    for at in range(0, len(payload), size):
        more = at + size < len(payload)
        header = bytes((protocol, 0)) + (at | more).to_bytes(2) + IDENTIFICATION.to_bytes(4)
        packets.append(ipv6(payload[at : at + size], protocol, extensions=header, first_header=44, checksum=False))
    return packets


def fragments_v4(payload: bytes, protocol: int, size: int, identification: int = 0xABCD) -> list[bytes]:
    payload = with_checksum(HOST, FIRST_POOL_ADDRESS, protocol, payload)
    packets = []
    for at in range(0, len(payload), size):
        cut = at // 8 | (0x2000 if at + size < len(payload) else 0)
        piece = payload[at : at + size]
        packets.append(ipv4(piece, protocol, cut=cut, identification=identification, checksum=False))
    return packets


def assembled_v4(packets: list[bytes]) -> bytes:
    """The datagram that fragments make, as one packet."""
    payload = bytearray()
    for packet in sorted(packets, key=lambda packet: int.from_bytes(packet[6:8]) & 0x1FFF):
        assert (int.from_bytes(packet[6:8]) & 0x1FFF) * 8 == len(payload)
        assert not packet[6] & 0x40
        payload += packet[20:]
    last = [packet for packet in packets if not packet[6] & 0x20]
    assert len(last) == 1
    header = packets[0]
    return ipv4(bytes(payload), header[9], source=header[12:16], destination=header[16:20], checksum=False)


def assembled_v6(packets: list[bytes]) -> bytes:
    payload = bytearray()
    for packet in sorted(packets, key=lambda packet: int.from_bytes(packet[42:44])):
        assert packet[6] == 44
        assert int.from_bytes(packet[42:44]) & 0xFFF8 == len(payload)
        payload += packet[48:]
    assert sum(not packet[43] & 1 for packet in packets) == 1
    assert len({packet[44:48] for packet in packets}) == 1
    header = packets[0]
    return ipv6(bytes(payload), header[40], source=header[8:24], destination=header[24:40], checksum=False)


@given(st.binary(min_size=100, max_size=5000), st.randoms(use_true_random=False))
def test_fragments_of_udp_pass_one_by_one_in_any_order(data: bytes, order: random.Random) -> None:
    made = translator()
    sent = fragments_v6(udp(data), UDP, 64)
    order.shuffle(sent)
    translated = [packet for fragment in sent for packet in made.to_ipv4(fragment, 0)]
    assert len(translated) == len(sent)
    assert len(made.reassembler) == 0
    assert {packet[4:6] for packet in translated} == {b"\xab\xcd"}
    whole = assembled_v4(translated)
    assert_valid(whole)
    assert whole[28:] == data
    received = fragments_v4(udp(data), UDP, 64)
    order.shuffle(received)
    back = assembled_v6([packet for fragment in received for packet in made.to_ipv6(fragment, 0)])
    assert_valid(back)
    assert back[48:] == data


def test_an_atomic_fragment_is_no_fragment() -> None:
    header = bytes((UDP, 0, 0, 0)) + IDENTIFICATION.to_bytes(4)
    payload = with_checksum(CLIENT, HOST_V6, UDP, udp(b"atom"))
    sent = to_ipv4(ipv6(payload, UDP, extensions=header, first_header=44, checksum=False))
    assert_valid(sent)
    assert sent[6:8] == b"\0\0"


@pytest.mark.parametrize("size", [1480, 1472, 1400])
def test_large_ipv4_packets_are_cut_when_their_sender_allows_it(size: int) -> None:
    made = translator()
    whole = ipv4(udp(b"x" * (size - 8)), UDP, cut=0, identification=0x77)
    received = made.to_ipv6(whole, 0)
    assert all(len(packet) <= 1500 for packet in received)
    if size + 40 <= 1500:
        assert len(received) == 1
        assert received[0][6] == UDP
    else:
        assert_valid(assembled_v6(received))
        assert received[0][44:48] == b"\0\0\0\x77"
    # The kernel answers those that may not be cut: they leave whole.
    (uncut,) = made.to_ipv6(ipv4(udp(b"x" * (size - 8)), UDP), 0)
    assert len(uncut) == 40 + size


def test_fragments_of_full_size_are_cut_further() -> None:
    made = translator()
    received = fragments_v4(udp(b"y" * 4000), UDP, 1480)
    translated = [packet for fragment in received for packet in made.to_ipv6(fragment, 0)]
    assert all(len(packet) <= 1500 for packet in translated)
    whole = assembled_v6(translated)
    assert_valid(whole)
    assert whole[48:] == b"y" * 4000


@pytest.mark.parametrize("seed", range(5))
def test_fragments_of_an_echo_are_put_together(seed: int) -> None:
    made = translator()
    data = bytes(range(256)) * 12
    request = fragments_v6(icmp(128, 0, ECHO, data), ICMPV6, 1232)
    random.Random(seed).shuffle(request)
    *waiting, last = (made.to_ipv4(fragment, 0) for fragment in request)
    assert not any(waiting)
    (sent,) = last
    assert_valid(sent)
    assert sent[28:] == data
    assert not sent[6] & 0x40
    reply = fragments_v4(icmp(0, 0, ECHO, data), ICMP, 1480)
    random.Random(seed).shuffle(reply)
    received = [packet for fragment in reply for packet in made.to_ipv6(fragment, 0)]
    assert all(len(packet) <= 1500 for packet in received)
    whole = assembled_v6(received)
    assert_valid(whole)
    assert whole[48:] == data
    assert len(made.reassembler) == 0


def test_an_atomic_echo_is_not_waited_for() -> None:
    (packet,) = fragments_v6(icmp(128, 0, ECHO, b"small"), ICMPV6, 1232)
    assert_valid(to_ipv4(packet))


def test_unsummed_fragments_are_dropped() -> None:
    first = fragments_v4(udp(b"x" * 100), UDP, 64)[0]
    packet = ipv4(first[20:26] + b"\0\0" + first[28:], UDP, cut=0x2000, checksum=False)
    with pytest.raises(Untranslatable, match="unsummed_fragment"):
        to_ipv6(packet)


def test_a_header_behind_the_first_fragment_is_dropped() -> None:
    header = bytes((60, 0)) + (64).to_bytes(2) + IDENTIFICATION.to_bytes(4)
    with pytest.raises(Untranslatable, match="extension_header"):
        to_ipv4(ipv6(bytes(16), UDP, extensions=header, first_header=44, checksum=False))


def piece(offset: int, size: int, more: bool, identification: int = 1, byte: bytes = b"p") -> Datagram:
    fragment = Fragment(offset, more, identification)
    return Datagram(CLIENT, HOST_V6, ICMPV6, 64, 0, byte * size, size, fragment)


def test_memory_is_bounded() -> None:
    reassembler = Reassembler()
    for identification in range(3 * MAX_DATAGRAMS):
        assert reassembler.add(piece(0, 8, True, identification), 0) is None
    assert len(reassembler) == MAX_DATAGRAMS
    assert reassembler.add(piece(8, 8, False, 0), 0) is None  # given up
    assert reassembler.add(piece(8, 8, False, 3 * MAX_DATAGRAMS - 1), 0) is not None


def test_what_never_comes_is_not_waited_for() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8, True), 0)
    assert reassembler.add(piece(8, 8, False), TIMEOUT_S + 1) is None
    assert len(reassembler) == 1


@pytest.mark.parametrize(
    "second",
    [
        piece(4, 8, True),
        piece(0, 8, True, byte=b"q"),
        piece(8, 12, True),
        piece(8, 0, False),
        piece(0xFFF8, 16, False),
        piece(0, 0, True),
    ],
)
def test_overlapping_and_impossible_fragments_give_the_datagram_up(second: Datagram) -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8, True), 0)
    assert reassembler.add(second, 0) is None
    assert len(reassembler) == 0


def test_a_repeated_fragment_is_taken_once() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(0, 8, True), 0)
    reassembler.add(piece(0, 8, True), 0)
    whole = reassembler.add(piece(8, 3, False), 0)
    assert whole is not None
    assert whole.payload == b"p" * 11


@pytest.mark.parametrize("offset", [8, 24])
def test_there_is_one_last_fragment(offset: int) -> None:
    reassembler = Reassembler()
    reassembler.add(piece(16, 8, False), 0)
    assert reassembler.add(piece(offset, 8, False), 0) is None
    assert len(reassembler) == 0


def test_nothing_lies_behind_the_last_fragment() -> None:
    reassembler = Reassembler()
    reassembler.add(piece(8, 8, False), 0)
    assert reassembler.add(piece(16, 8, True), 0) is None
    assert len(reassembler) == 0


@given(st.integers(1, 20_000), st.integers(1280, 9000), st.integers(0, 100), st.booleans())
def test_cutting_loses_nothing(size: int, mtu: int, offset: int, more: bool) -> None:
    payload = bytes(size - size % 8 if more else size) or bytes(8)
    place = Fragment(offset * 8, more, 7)
    whole = Datagram(HOST_V6, CLIENT, UDP, 64, 0, payload, len(payload), place)
    pieces = list(cut_for_ipv6(whole, mtu, 9))
    at = offset * 8
    for one in pieces:
        assert one.fragment is not None
        assert one.fragment.offset == at
        assert one.fragment.identification == 7
        assert len(one.payload) == one.length <= mtu - 48
        at += one.length
    assert at == offset * 8 + len(payload)
    assert [one.fragment.more for one in pieces if one.fragment] == [True] * (len(pieces) - 1) + [more]
