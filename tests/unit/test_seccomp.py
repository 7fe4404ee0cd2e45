"""Filters of system calls: what they hand to a listener, by running them as the kernel would."""

from __future__ import annotations

import socket
import struct

import pytest

from patchbay_runner.kernel import seccomp
from patchbay_runner.kernel.libctexts import addresses_of

NOTIFY, ALLOW = 0x7FC00000, 0x7FFF0000
HOSTS, RESOLV_CONF, ELSEWHERE = 0x7F00_1234_5678, 0x7F01_1234_5678, 0x7F00_1234_5679


def verdict(program: bytes, number: int, *arguments: int, audit: int) -> int:
    data = struct.pack("=IIQ6Q", number, audit, 0, *(*arguments, *[0] * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        operation, if_true, if_false, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (loaded,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += if_true if loaded == value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"operation {operation:#x}")


@pytest.mark.parametrize(
    ("machine", "socket_number", "openat", "newfstatat"), [("x86_64", 41, 257, 262), ("aarch64", 198, 56, 79)]
)
def test_what_a_listener_is_asked(machine: str, socket_number: int, openat: int, newfstatat: int) -> None:
    calls = seccomp._CALLS[machine]
    program = seccomp.filter_program(calls, [HOSTS, RESOLV_CONF], [RESOLV_CONF])

    def asked(number: int, *arguments: int, audit: int = calls.audit) -> bool:
        return {NOTIFY: True, ALLOW: False}[verdict(program, number, *arguments, audit=audit)]

    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, 0x70627468):
        assert asked(socket_number, family)
    assert not asked(socket_number, socket.AF_UNIX)
    assert not asked(socket_number, socket.AF_ALG)
    assert not asked(socket_number, socket.AF_INET, audit=calls.audit ^ 1)
    assert asked(425)
    at_cwd = 0xFFFFFFFFFFFFFF9C
    assert asked(openat, at_cwd, HOSTS)
    assert asked(openat, at_cwd, RESOLV_CONF)
    assert not asked(openat, at_cwd, ELSEWHERE)
    assert not asked(openat, HOSTS, ELSEWHERE)
    assert asked(newfstatat, at_cwd, RESOLV_CONF)
    assert not asked(newfstatat, at_cwd, HOSTS)
    assert not asked(0, HOSTS, HOSTS)


def test_the_c_library_has_the_paths_of_names() -> None:
    found = addresses_of(["/etc/hosts", "/etc/resolv.conf", "/etc/no-such-text"])
    assert set(found.values()) == {"/etc/hosts", "/etc/resolv.conf"}
