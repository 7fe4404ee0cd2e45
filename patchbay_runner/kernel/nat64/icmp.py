"""ICMP and ICMPv6: types, codes, pointers and MTUs (RFC 7915, sections 4.2 and 5.2). Pure."""

from __future__ import annotations

from typing import NamedTuple

from patchbay_runner.kernel.nat64.headers import ICMP, Untranslatable

ECHO_REQUEST_V4, ECHO_REPLY_V4 = 8, 0
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129
ECHO_TO_V6 = {ECHO_REQUEST_V4: ECHO_REQUEST_V6, ECHO_REPLY_V4: ECHO_REPLY_V6}
ECHO_TO_V4 = {v6: v4 for v4, v6 in ECHO_TO_V6.items()}

MINIMUM_IPV6_MTU = 1280
_HEADER_DIFFERENCE = 20

_UNREACHABLE_V4, _TIME_EXCEEDED_V4, _PARAMETER_PROBLEM_V4 = 3, 11, 12
_UNREACHABLE_V6, _TOO_BIG_V6, _TIME_EXCEEDED_V6, _PARAMETER_PROBLEM_V6 = 1, 2, 3, 4
_PROTOCOL_UNREACHABLE_V4, _FRAGMENTATION_NEEDED_V4 = 2, 4
_UNRECOGNIZED_NEXT_HEADER_V6 = 1
_NEXT_HEADER_OFFSET_V6 = 6

_NO_ROUTE, _PROHIBITED, _PORT = 0, 1, 4
_UNREACHABLE_TO_V6 = {0: _NO_ROUTE, 1: _NO_ROUTE, 3: _PORT, 5: _NO_ROUTE, 6: _NO_ROUTE, 7: _NO_ROUTE, 8: _NO_ROUTE}
_UNREACHABLE_TO_V6 |= {9: _PROHIBITED, 10: _PROHIBITED, 11: _NO_ROUTE, 12: _NO_ROUTE, 13: _PROHIBITED, 15: _PROHIBITED}
_UNREACHABLE_TO_V4 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}

# A field of one header by the offset of its first octet, and where the other header has it (figures 3 and 6).
_POINTER_TO_V6 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6}
_POINTER_TO_V6 |= dict.fromkeys(range(12, 16), 8) | dict.fromkeys(range(16, 20), 24)
_POINTER_TO_V4 = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
_POINTER_TO_V4 |= dict.fromkeys(range(8, 24), 12) | dict.fromkeys(range(24, 40), 16)

# RFC 1191, section 7: what a router that tells no MTU may have meant.
_PLATEAUS = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)


class IcmpError(NamedTuple):
    """The first eight octets of an error without its checksum: type, code, and the four that depend on the type."""

    type: int
    code: int
    rest: bytes


def quoted_octets(error: IcmpError, is_ipv4: bool, body: bytes) -> bytes:
    """The quoted packet without the extensions that may follow it (RFC 4884), which name things of one IP version."""
    length = error.rest[1] * 4 if is_ipv4 else error.rest[0] * 8
    has_length = error.type in (
        (_UNREACHABLE_V4, _TIME_EXCEEDED_V4, _PARAMETER_PROBLEM_V4) if is_ipv4 else (_UNREACHABLE_V6, _TIME_EXCEEDED_V6)
    )
    return body[:length] if has_length and length else body


def error_to_ipv6(error: IcmpError, quoted_length: int, limit_mtu: int) -> IcmpError:
    """`quoted_length` is the total length of the quoted packet, `limit_mtu` the largest MTU worth telling, in bytes.

    Raises Untranslatable for messages without an equivalent.
    """
    kind, code, rest = error
    if kind == _UNREACHABLE_V4 and code == _FRAGMENTATION_NEEDED_V4:
        told = int.from_bytes(rest[2:]) or next(size for size in (*_PLATEAUS, 0) if size < quoted_length)
        mtu = max(MINIMUM_IPV6_MTU, min(told + _HEADER_DIFFERENCE, limit_mtu))
        return IcmpError(_TOO_BIG_V6, 0, mtu.to_bytes(4))
    if kind == _UNREACHABLE_V4 and code == _PROTOCOL_UNREACHABLE_V4:
        return IcmpError(_PARAMETER_PROBLEM_V6, _UNRECOGNIZED_NEXT_HEADER_V6, _NEXT_HEADER_OFFSET_V6.to_bytes(4))
    if kind == _UNREACHABLE_V4 and code in _UNREACHABLE_TO_V6:
        return IcmpError(_UNREACHABLE_V6, _UNREACHABLE_TO_V6[code], bytes(4))
    if kind == _TIME_EXCEEDED_V4:
        return IcmpError(_TIME_EXCEEDED_V6, code, bytes(4))
    if kind == _PARAMETER_PROBLEM_V4 and code in (0, 2) and rest[0] in _POINTER_TO_V6:
        return IcmpError(_PARAMETER_PROBLEM_V6, 0, _POINTER_TO_V6[rest[0]].to_bytes(4))
    raise Untranslatable("icmp_type")


def error_to_ipv4(error: IcmpError, limit_mtu: int) -> IcmpError:
    """`limit_mtu` is the largest MTU worth telling, in bytes. Raises Untranslatable for messages without equivalent."""
    kind, code, rest = error
    number = int.from_bytes(rest)
    if kind == _TOO_BIG_V6:
        mtu = min(max(number - _HEADER_DIFFERENCE, 0), limit_mtu)
        return IcmpError(_UNREACHABLE_V4, _FRAGMENTATION_NEEDED_V4, mtu.to_bytes(4))
    if kind == _UNREACHABLE_V6 and code in _UNREACHABLE_TO_V4:
        return IcmpError(_UNREACHABLE_V4, _UNREACHABLE_TO_V4[code], bytes(4))
    if kind == _TIME_EXCEEDED_V6:
        return IcmpError(_TIME_EXCEEDED_V4, code, bytes(4))
    if kind == _PARAMETER_PROBLEM_V6 and code == _UNRECOGNIZED_NEXT_HEADER_V6:
        return IcmpError(_UNREACHABLE_V4, _PROTOCOL_UNREACHABLE_V4, bytes(4))
    if kind == _PARAMETER_PROBLEM_V6 and code == 0 and number in _POINTER_TO_V4:
        return IcmpError(_PARAMETER_PROBLEM_V4, 0, bytes((_POINTER_TO_V4[number], 0, 0, 0)))
    raise Untranslatable("icmp_type")


def is_error(kind: int, protocol: int) -> bool:
    """Whether a message quotes a packet."""
    if protocol == ICMP:
        return kind in (_UNREACHABLE_V4, _TIME_EXCEEDED_V4, _PARAMETER_PROBLEM_V4)
    return kind in (_UNREACHABLE_V6, _TOO_BIG_V6, _TIME_EXCEEDED_V6, _PARAMETER_PROBLEM_V6)
