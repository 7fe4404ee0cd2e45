"""The rtnetlink wire format: headers, attributes, and the numbers of the messages we send (linux/rtnetlink.h).

Everything is in host byte order but addresses, which are packed as they travel.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

Address = bytes | IPv4Address | IPv6Address
"""An address, packed (4 or 16 bytes, the cheap form) or as an `ipaddress` object."""

AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_DELTFILTER = 44, 45
RTM_NEWNEIGHTBL, RTM_SETNEIGHTBL = 64, 67

NLM_F_REQUEST, NLM_F_ACK = 0x01, 0x04
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
CREATE_NEW = NLM_F_CREATE | NLM_F_EXCL
CREATE_OR_REPLACE = NLM_F_CREATE | NLM_F_REPLACE
NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP_INTR = 0x200, 0x100, 0x10

TCA_KIND = 1
TC_H_ROOT, TC_H_CLSACT = 0xFFFFFFFF, 0xFFFFFFF1
CLSACT_INGRESS, CLSACT_EGRESS = 0xFFFFFFF2, 0xFFFFFFF3

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port id
HEADER_SIZE = HEADER.size
NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_ATTRIBUTE = struct.Struct("=HH")
_U8 = struct.Struct("=HHBxxx")
_U16 = struct.Struct("=HHHxx")
_U32 = struct.Struct("=HHI")
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + _PADDING[length & 3]


def u8(kind: int, value: int) -> bytes:
    return _U8.pack(5, kind, value)


def u16(kind: int, value: int) -> bytes:
    return _U16.pack(6, kind, value)


def u32(kind: int, value: int) -> bytes:
    return _U32.pack(8, kind, value)


def text(kind: int, value: str) -> bytes:
    """A zero-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def request(kind: int, flags: int, body: bytes) -> bytes:
    """One request. Its sequence number, and whether the kernel acknowledges it, are the socket's to decide."""
    return HEADER.pack(HEADER_SIZE + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body


def packed(address: Address) -> bytes:
    return address if isinstance(address, bytes) else address.packed


def family_of(address: bytes) -> int:
    return AF_INET if len(address) == 4 else AF_INET6


def parse_attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The attributes from `offset` to the end, by type; of repeated types the last."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4:
            break
        found[kind & _NLA_TYPE_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def split_messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and body of each message of a datagram."""
    offset = 0
    while offset + HEADER_SIZE <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER_SIZE:
            return
        yield kind, flags, sequence, data[offset + HEADER_SIZE : offset + length]
        offset += (length + 3) & ~3
