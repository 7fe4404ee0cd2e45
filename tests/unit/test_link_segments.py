"""Segments are cut into frames, and datagrams joined to segments, as the kernel does it: headers, sums and payload."""

from __future__ import annotations

import ctypes
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbay_runner.kernel.links.chance import CORRUPT
from patchbay_runner.kernel.links.cutting import Cutter
from patchbay_runner.kernel.links.frames import SLOT_SIZE, SlotPool
from patchbay_runner.kernel.links.line import DROPPED
from patchbay_runner.kernel.links.segments import (
    VNET_HEADER_SIZE,
    Segment,
    datagram_flow,
    read_segment,
    runs,
    with_checksum,
)

ETHERNET = bytes.fromhex("020000000001020000000002")
V4, V6 = ("10.0.0.1", "198.18.0.9"), ("fd00::1", "2001:db8::9")
FIN, PUSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80
VNET = struct.Struct("=BBHHHH")
TYPES = {("tcp", 4): 1, ("tcp", 6): 4, ("udp", 4): 5, ("udp", 6): 5}


def words(data: bytes) -> int:
    """The sum of RFC 1071, folded."""
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(family: int, protocol: int, length: int) -> bytes:
    addresses = b"".join(ip_address(each).packed for each in (V4 if family == 4 else V6))
    return addresses + struct.pack(">II", length, protocol)


def packet(  # noqa: PLR0917 - what a frame is made of
    protocol: str, family: int, payload: bytes, frame: int = 0, tag: bool = False, flags: int = ACK, number: int = 1000
) -> bytes:
    """A frame with virtio_net_hdr as the kernel hands it over: its checksum is still the pseudo-header's sum.

    `frame` is the payload of each frame of a segment.
    """
    if protocol == "tcp":
        transport = struct.pack(">HHIIBBHHH", 5000, 80, number, 77, 8 << 4, flags, 500, 0, 0) + bytes(12)
        kind, place = 6, 16
    else:
        transport = struct.pack(">HHHH", 5000, 80, 8 + len(payload), 0)
        kind, place = 17, 6
    length = len(transport) + len(payload)
    total = words(pseudo(family, kind, length))
    transport = transport[:place] + struct.pack(">H", total) + transport[place + 2 :]
    if family == 4:
        addresses = b"".join(ip_address(each).packed for each in V4)
        network = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0xFFFE, 0x4000, 64, kind, 0) + addresses
        network = network[:10] + struct.pack(">H", 0xFFFF - words(network)) + network[12:]
    else:
        addresses = b"".join(ip_address(each).packed for each in V6)
        network = struct.pack(">IHBB", 6 << 28, length, kind, 64) + addresses
    ethernet = ETHERNET + (b"\x81\x00\x00\x05" if tag else b"") + (b"\x08\x00" if family == 4 else b"\x86\xdd")
    headers = len(ethernet) + len(network) + len(transport)
    is_segment = frame and len(payload) > frame
    vnet = VNET.pack(
        1,
        (TYPES[protocol, family] | (0x80 if flags & CWR else 0)) if is_segment else 0,
        headers,
        frame if is_segment else 0,
        len(ethernet) + len(network),
        place,
    )
    return vnet + ethernet + network + transport + payload


def assert_sums(frame: bytes, protocol: str, family: int, tag: bool = False) -> None:
    """That the header's and the transport's sums hold once the card has completed them."""
    network = with_checksum(frame)[VNET_HEADER_SIZE + 14 + 4 * tag :]
    if family == 4:
        assert struct.unpack_from(">H", network, 2)[0] == len(network)
        assert words(network[:20]) == 0xFFFF
        network = network[20:]
    else:
        assert struct.unpack_from(">H", network, 4)[0] == len(network) - 40
        network = network[40:]
    if protocol == "udp":
        assert struct.unpack_from(">H", network, 4)[0] == len(network)
    assert words(pseudo(family, 6 if protocol == "tcp" else 17, len(network)) + network) == 0xFFFF


class Memory:
    """A pool whose slots hold frames."""

    def __init__(self) -> None:
        self.pool = SlotPool()
        self.cutter = Cutter(self.pool)

    def put(self, frame: bytes) -> int:
        (slot,) = self.pool.take(1)
        ctypes.memmove(slot, frame, len(frame))
        return slot

    def read(self, slot: int, length: int) -> bytes:
        return ctypes.string_at(slot, length)

    def segment(self, frame: bytes) -> tuple[int, Segment]:
        slot = self.put(frame)
        found = self.cutter.segment(slot, len(frame))
        assert found is not None
        return slot, found


families = pytest.mark.parametrize("family", [4, 6])
protocols = pytest.mark.parametrize("protocol", ["tcp", "udp"])


@protocols
@families
@pytest.mark.parametrize("tag", [False, True])
def test_every_piece_is_what_the_kernel_would_have_made(protocol: str, family: int, tag: bool) -> None:
    payload = bytes(range(256)) * 20
    frame = 1000
    memory = Memory()
    flags = ACK | PUSH | FIN | CWR if protocol == "tcp" else ACK
    slot, segment = memory.segment(packet(protocol, family, payload, frame, tag, flags, number=0xFFFFFC00))
    assert (segment.frames, segment.payload) == (6, len(payload))
    for first in range(segment.frames):
        for count in range(1, segment.frames - first + 1):
            piece, length = memory.cutter.cut(slot, segment, first, count)
            made = memory.read(piece, length)
            expected = payload[first * frame : (first + count) * frame]
            expected_flags = flags
            if protocol == "tcp":
                expected_flags &= ~(CWR if first else 0) & ~(0 if first + count == segment.frames else PUSH | FIN)
            number = (0xFFFFFC00 + first * frame) & 0xFFFFFFFF
            wanted = packet(protocol, family, expected, frame, tag, expected_flags, number)
            assert_sums(made, protocol, family, tag)
            network = VNET_HEADER_SIZE + 14 + 4 * tag
            if family == 4:
                assert struct.unpack_from(">H", made, network + 4)[0] == (0xFFFE + first) & 0xFFFF
                made, wanted = (
                    each[: network + 4] + each[network + 6 : network + 10] + each[network + 12 :]
                    for each in (made, wanted)
                )
            assert made == wanted


@protocols
@families
def test_single_frames_are_no_segments(protocol: str, family: int) -> None:
    memory = Memory()
    frame = packet(protocol, family, bytes(1000))
    assert memory.cutter.segment(memory.put(frame), len(frame)) is None


@families
def test_a_segment_inside_a_tunnel_is_left_alone(family: int) -> None:
    frame = bytearray(packet("tcp", family, bytes(5000), 1000))
    VNET.pack_into(frame, 0, 1, TYPES["tcp", family], 120, 1000, 90 if family == 4 else 50, 16)
    assert read_segment(bytes(frame), len(frame)) is None


@families
@given(count=st.integers(2, 40), size=st.integers(60, 1472))
def test_joined_datagrams_are_cut_into_the_same_again(family: int, count: int, size: int) -> None:
    memory = Memory()
    frames = [packet("udp", family, bytes([number]) * size) for number in range(count)]
    slots, lengths = [memory.put(frame) for frame in frames], [len(frame) for frame in frames]
    joined, joined_lengths, each = memory.cutter.join(slots, lengths)
    assert sum(each) == count
    assert len(joined) == -(-count // min(count, (65_535 - 48) // size))
    found = []
    for slot, length in zip(joined, joined_lengths, strict=True):
        assert_sums(memory.read(slot, length), "udp", family)
        segment = memory.cutter.segment(slot, length)
        assert segment is not None or count == 1 or length == lengths[0]
        pieces = (
            [(slot, length)]
            if segment is None
            else [memory.cutter.cut(slot, segment, number, 1) for number in range(segment.frames)]
        )
        found += [memory.read(*piece) for piece in pieces]
    assert [frame[-size:] for frame in found] == [frame[-size:] for frame in frames]
    for frame in found:
        assert_sums(frame, "udp", family)


def test_only_neighbours_of_one_flow_and_size_are_joined() -> None:
    memory = Memory()
    other_port = bytearray(packet("udp", 4, bytes(500)))
    other_port[44] ^= 1
    fragment = bytearray(packet("udp", 4, bytes(500)))
    fragment[30] = 0x20
    summed = with_checksum(packet("udp", 4, bytes(500)))
    plain, short = packet("udp", 4, bytes(500)), packet("udp", 4, bytes(400))
    frames = [plain, plain, bytes(other_port), plain, short, plain, plain, plain, bytes(fragment), summed, summed]
    frames += [packet("tcp", 4, bytes(500))] * 2
    slots = [memory.put(frame) for frame in frames]
    _, _, counts = memory.cutter.join(slots, [len(frame) for frame in frames])
    assert counts == [2, 1, 1, 1, 3, 1, 1, 1, 1, 1]
    assert datagram_flow(summed) is None


@given(
    st.lists(st.tuples(st.integers(0, 300_000) | st.just(DROPPED), st.sampled_from([0, 0, 0, CORRUPT])), max_size=50),
    st.integers(0, 100_000),
)
def test_pieces_hold_every_frame_that_passes_once_and_in_order(fates: list[tuple[int, int]], grain_ns: int) -> None:
    fates = [(departure, flags if departure != DROPPED else 0) for departure, flags in fates]
    taken: list[int] = []
    for first, count, departure_ns, flags in runs(fates, grain_ns):
        for number in range(first, first + count):
            assert fates[number][1] == flags
            assert fates[number][0] <= departure_ns + grain_ns
        assert count == 1 or not flags
        assert departure_ns == fates[first][0]
        taken += range(first, first + count)
    assert taken == [number for number, (departure, _) in enumerate(fates) if departure != DROPPED]


@protocols
@families
def test_damage_is_one_bit_under_a_sum_that_was_right(protocol: str, family: int) -> None:
    memory = Memory()
    frame = packet(protocol, family, bytes(range(200)))
    slot = memory.put(frame)
    memory.cutter.damage(slot, len(frame), 0.99)
    whole, damaged = with_checksum(frame), memory.read(slot, len(frame))
    assert damaged[0] == 0  # the card is asked for nothing, or it would sum the damage up
    differing = [a ^ b for a, b in zip(whole, damaged, strict=True) if a != b]
    assert [each.bit_count() for each in differing] == [1]


@pytest.mark.parametrize("where", [0.0, 0.5, 0.999999])
def test_every_bit_to_damage_is_inside_the_frame(where: float) -> None:
    memory = Memory()
    slot = memory.put(bytes(SLOT_SIZE))
    memory.cutter.damage(slot, VNET_HEADER_SIZE + 14, where)  # nothing behind the header: nothing to damage
    assert not any(memory.read(slot, SLOT_SIZE))
    memory.cutter.damage(slot, VNET_HEADER_SIZE + 20, where)
    found = memory.read(slot, SLOT_SIZE)
    assert sum(each.bit_count() for each in found) == 1
    assert any(found[VNET_HEADER_SIZE + 14 : VNET_HEADER_SIZE + 20])
