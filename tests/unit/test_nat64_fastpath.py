"""The fast path gives what the translator gives, or declines; it never damages what it declines."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.nat64.fastpath import BUFFER_SIZE, HEADROOM, V4_START, V6_START, FastPath
from patchbay_runner.kernel.nat64.offload import NEEDS_CHECKSUM, Offload, with_checksum
from patchbay_runner.kernel.nat64.translate import Translator
from tests.unit.nat64_packets import (
    CLIENT,
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

ROUTER, OWN = b"router", b"ownmac"
NONE = (0, 0, 0, 0, 0, 0)
TCP_V4, TCP_V6 = 1, 4
PAYLOADS = {TCP: tcp, UDP: udp}


class Bench:
    """A fast path that knows the addresses, and a translator of the same state beside it."""

    def __init__(self) -> None:
        config = Nat64Config()
        self.buffer = bytearray(BUFFER_SIZE)
        self.translator, self.other = Translator(config), Translator(config)
        self.fast = FastPath(self.buffer, self.translator, config, ROUTER + OWN)
        for packet in (ipv6(udp(), UDP), ipv4(udp(), UDP)):
            for translator in (self.translator, self.other):
                translator.to_ipv4(packet, 0) if packet[0] >> 4 == 6 else translator.to_ipv6(packet, 0)
            self.receive(packet)
            self.fast.learn()

    def receive(self, packet: bytes, offload: tuple[int, ...] = NONE) -> int:
        frame = struct.pack("=BBHHHH", *offload) + OWN + ROUTER + b"\x86\xdd" + packet
        self.buffer[:] = bytes(BUFFER_SIZE)
        self.buffer[HEADROOM : HEADROOM + len(frame)] = frame
        return HEADROOM + len(frame)

    def translate(self, packet: bytes, offload: tuple[int, ...] = NONE) -> tuple[tuple[int, ...], bytes] | None:
        """The offload header and the packet that are sent; None when it is left to the translator."""
        end = self.receive(packet, offload)
        before = bytes(self.buffer)
        is_v6 = packet[0] >> 4 == 6
        stop = self.fast.to_ipv4(end) if is_v6 else self.fast.to_ipv6(end)
        if not stop:
            assert self.buffer == before
            return None
        frame = bytes(self.buffer[V4_START if is_v6 else V6_START : stop])
        assert frame[10:22] == ROUTER + OWN
        assert frame[22:24] == (b"\x08\x00" if is_v6 else b"\x86\xdd")
        return struct.unpack("=BBHHHH", frame[:10]), frame[24:]


@given(
    protocol=st.sampled_from([TCP, UDP]),
    data=st.binary(max_size=1430),
    hops=st.integers(1, 255),
    traffic_class=st.integers(0, 255),
    cut=st.sampled_from([0, 0x4000]),
)
def test_it_agrees_with_the_translator(protocol: int, data: bytes, hops: int, traffic_class: int, cut: int) -> None:
    bench = Bench()
    payload = PAYLOADS[protocol](data)
    for packet in (
        ipv6(payload, protocol, hops=hops, traffic_class=traffic_class),
        ipv4(payload, protocol, hops=hops, tos=traffic_class, cut=cut),
    ):
        sent = bench.translate(packet)
        translate = bench.other.to_ipv4 if packet[0] >> 4 == 6 else bench.other.to_ipv6
        assert sent is not None
        assert sent[0][:4] == (0, 0, 0, 0)
        assert [sent[1]] == translate(packet, 0)
        assert_valid(sent[1])


@given(data=st.binary(max_size=1450), reply=st.booleans())
def test_it_agrees_on_echo(data: bytes, reply: bool) -> None:
    bench = Bench()
    v6 = ipv6(icmp(128 + reply, 0, b"idsq", data), ICMPV6)
    v4 = ipv4(icmp(8 - 8 * reply, 0, b"idsq", data), ICMP)
    for packet, translate in ((v6, bench.other.to_ipv4), (v4, bench.other.to_ipv6)):
        sent = bench.translate(packet)
        assert sent is not None
        assert sent[0] == NONE
        assert [sent[1]] == translate(packet, 0)
        assert_valid(sent[1])


def _partial(packet: bytes, protocol: int, segment: int, kind: int) -> tuple[bytes, tuple[int, ...]]:
    """The packet as its own machine's kernel hands it out: the checksum left to a device, perhaps the cutting too."""
    header, at = (40, 8) if packet[0] >> 4 == 6 else (20, 12)
    width = 16 if header == 40 else 4
    addresses = packet[at : at + width], packet[at + width : at + 2 * width]
    offset = 16 if protocol == TCP else 6
    field = header + offset
    total = internet_checksum(pseudo_header(*addresses, protocol, len(packet) - header)) ^ 0xFFFF
    packet = packet[:field] + total.to_bytes(2) + packet[field + 2 :]
    start = 14 + header
    return packet, (NEEDS_CHECKSUM, kind, start + 20 if kind else 0, segment, start, offset)


@pytest.mark.parametrize("protocol", [TCP, UDP])
@given(data=st.binary(max_size=1400))
def test_partial_checksums_are_completed_by_the_device(protocol: int, data: bytes) -> None:
    bench = Bench()
    for packet in (ipv6(PAYLOADS[protocol](data), protocol), ipv4(PAYLOADS[protocol](data), protocol)):
        sent = bench.translate(*_partial(packet, protocol, 0, 0))
        assert sent is not None
        offload = Offload(*sent[0])
        assert offload.needs_checksum
        assert_valid(with_checksum(sent[1], offload))


@pytest.mark.parametrize(("segment", "unfragmentable"), [(1428, True), (1220, False), (1221, True)])
@pytest.mark.parametrize("flag", [0, 0x80])
def test_unsegmented_tcp_stays_unsegmented(segment: int, unfragmentable: bool, flag: int) -> None:
    bench = Bench()
    sent = bench.translate(*_partial(ipv6(tcp(b"x" * 60_000), TCP), TCP, segment, TCP_V6 | flag))
    assert sent is not None
    assert sent[0] == (NEEDS_CHECKSUM, TCP_V4 | flag, 14 + 20 + 20, segment, 34, 16)
    assert bool(sent[1][6] & 0x40) is unfragmentable
    assert int.from_bytes(sent[1][2:4]) == 20 + 20 + 60_000
    assert_valid(with_checksum(sent[1], Offload(*sent[0])))
    back = bench.translate(*_partial(ipv4(tcp(b"x" * 60_000), TCP, cut=0), TCP, segment, TCP_V4 | flag))
    assert back is not None
    assert back[0] == (NEEDS_CHECKSUM, TCP_V6 | flag, 14 + 40 + 20, segment, 54, 16)
    assert int.from_bytes(back[1][4:6]) == 20 + 60_000
    assert_valid(with_checksum(back[1], Offload(*back[0])))


@pytest.mark.parametrize(
    "packet",
    [
        ipv6(tcp(flags=0x02), TCP),
        ipv6(icmp(135, 0, bytes(4)), ICMPV6),
        ipv6(icmp(1, 0, bytes(4), ipv6(udp(), UDP)), ICMPV6),
        ipv6(icmp(128, 0, b""), ICMPV6),
        ipv6(udp(b"x"), UDP, source=CLIENT[:-1] + b"\x99"),
        ipv6(udp(b"x"), UDP, destination=HOST_V6[:-1] + b"\x99"),
        ipv6(udp(b"x"), UDP, checksum=False),
        ipv6(udp(b"x"), UDP, extensions=bytes((UDP, 0, 1, 4)) + bytes(4), first_header=60),
        ipv6(udp(b"x"), UDP)[:-1],
        ipv6(tcp()[:18], TCP, checksum=False),
        ipv4(tcp(flags=0x12), TCP),
        ipv4(icmp(13, 0, bytes(4)), ICMP),
        ipv4(icmp(0, 0, b""), ICMP),
        ipv4(icmp(0, 0, bytes(1500)), ICMP, cut=0),
        ipv4(udp(b"x"), UDP, cut=0x2000),
        ipv4(udp(b"x"), UDP, cut=0x0005),
        ipv4(udp(b"x"), UDP, options=b"\x01\x01\x01\x01"),
        ipv4(udp(b"x"), UDP, checksum=False),
        ipv4(udp(b"x" * 1460), UDP, cut=0),
        ipv4(udp(b"x"), UDP, source=b"\xc6\x12\x02\x99"),
        ipv4(udp(b"x"), UDP)[:-1],
    ],
)
def test_it_leaves_the_rest_alone(packet: bytes) -> None:
    assert Bench().translate(packet) is None


@pytest.mark.parametrize("offload", [(0, TCP_V6, 74, 1400, 0, 0), (1, 3, 74, 1400, 54, 6), (1, 77, 74, 1400, 54, 6)])
def test_it_leaves_strange_segmentation_alone(offload: tuple[int, ...]) -> None:
    assert Bench().translate(ipv6(udp(b"x" * 3000), UDP), offload) is None


def test_it_leaves_what_no_ipv4_packet_can_hold_alone() -> None:
    packet = _partial(ipv6(tcp(b"x" * 65_510), TCP), TCP, 1400, TCP_V6)
    assert Bench().translate(*packet) is None


@pytest.mark.parametrize(("protocol", "checksum_offset", "header"), [(TCP, 16, 20), (UDP, 6, 8)])
def test_offload_headers_of_the_whole_translator(protocol: int, checksum_offset: int, header: int) -> None:
    kind = TCP_V6 if protocol == TCP else 5
    before = Offload(NEEDS_CHECKSUM, kind, 14 + 48 + header, 1200, 14 + 48, checksum_offset)
    after = (NEEDS_CHECKSUM, TCP_V4 if protocol == TCP else 5, 34 + header, 1200, 34, checksum_offset)
    assert before.moved(20) == after


def test_it_forgets_when_a_client_lost_its_address() -> None:
    bench = Bench()
    bench.translator.addresses.generation += 1
    bench.fast.forget_stale()
    assert bench.translate(ipv6(udp(b"x"), UDP)) is None
    assert bench.translate(ipv4(udp(b"x"), UDP)) is None


def test_what_it_remembers_is_bounded() -> None:
    bench = Bench()
    for number in range(10_000):
        bench.receive(ipv6(udp(), UDP, source=CLIENT[:-2] + number.to_bytes(2)))
        bench.fast.learn()
    assert len(bench.fast._to_v4) <= 4096
