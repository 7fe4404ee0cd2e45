"""Packets written and checked word by word, without any code of the translator."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address

TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}

CLIENT = IPv6Address("2001:db8:1:1::2").packed
HOST = IPv4Address("198.18.2.3").packed
ROUTER = IPv4Address("198.18.0.9").packed
HOST_V6 = IPv6Address("64:ff9b::198.18.2.3").packed
ROUTER_V6 = IPv6Address("64:ff9b::198.18.0.9").packed
FIRST_POOL_ADDRESS = IPv4Address("240.0.0.1").packed


def internet_checksum(data: bytes) -> int:
    """RFC 1071, as it is written there."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    if len(source) == 4:
        return source + destination + struct.pack(">BBH", 0, protocol, length)
    return source + destination + struct.pack(">IHBB", length, 0, 0, protocol)


def with_checksum(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    at = CHECKSUM_AT[protocol]
    bare = payload[:at] + b"\0\0" + payload[at + 2 :]
    covered = bare
    if protocol != ICMP:
        covered = pseudo_header(source, destination, protocol, len(bare)) + bare
    checksum = internet_checksum(covered) or (0xFFFF if protocol == UDP else 0)
    return bare[:at] + struct.pack(">H", checksum) + bare[at + 2 :]


def tcp(data: bytes = b"", *, flags: int = 0x10, options: bytes = b"", ports: tuple[int, int] = (4000, 80)) -> bytes:
    offset = (20 + len(options)) // 4 << 4
    return struct.pack(">HHIIBBHHH", *ports, 1, 2, offset, flags, 1000, 0, 0) + options + data


def udp(data: bytes = b"", *, ports: tuple[int, int] = (4000, 53)) -> bytes:
    return struct.pack(">HHHH", *ports, 8 + len(data), 0) + data


def icmp(kind: int, code: int, rest: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", kind, code, 0) + rest + body


def ipv6(
    payload: bytes,
    protocol: int,
    *,
    source: bytes = CLIENT,
    destination: bytes = HOST_V6,
    hops: int = 64,
    traffic_class: int = 0,
    extensions: bytes = b"",
    first_header: int | None = None,
    checksum: bool = True,
) -> bytes:
    """`extensions` stand before the payload; `first_header` is the number of the first of them."""
    if checksum:
        payload = with_checksum(source, destination, protocol, payload)
    first = 6 << 28 | traffic_class << 20 | 0x12345
    following = protocol if first_header is None else first_header
    header = struct.pack(">IHBB", first, len(extensions) + len(payload), following, hops)
    return header + source + destination + extensions + payload


def ipv4(
    payload: bytes,
    protocol: int,
    *,
    source: bytes = HOST,
    destination: bytes = FIRST_POOL_ADDRESS,
    hops: int = 64,
    tos: int = 0,
    cut: int = 0x4000,
    identification: int = 0,
    options: bytes = b"",
    checksum: bool = True,
) -> bytes:
    """`cut` is the word of flags and fragment offset."""
    if checksum:
        payload = with_checksum(source, destination, protocol, payload)
    length = 20 + len(options) + len(payload)
    first = 0x45 + len(options) // 4
    header = struct.pack(">BBHHHBBH", first, tos, length, identification, cut, hops, protocol, 0)
    header += source + destination + options
    return header[:10] + struct.pack(">H", internet_checksum(header)) + header[12:] + payload


def assert_valid(packet: bytes) -> None:
    """Lengths and checksums of an unfragmented packet of either version are right."""
    if packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        assert internet_checksum(packet[:header]) == 0
        assert int.from_bytes(packet[2:4]) == len(packet)
        protocol, source, destination = packet[9], packet[12:16], packet[16:20]
    else:
        header = 40
        assert int.from_bytes(packet[4:6]) == len(packet) - 40
        protocol, source, destination = packet[6], packet[8:24], packet[24:40]
    payload = packet[header:]
    at = CHECKSUM_AT[protocol]
    if protocol == UDP:
        assert payload[at : at + 2] != b"\0\0"
    covered = payload if protocol == ICMP else pseudo_header(source, destination, protocol, len(payload)) + payload
    assert internet_checksum(covered) == 0
