"""Packet sockets that see everything of a node, and the memory that the kernel puts what they see into.

One socket sees all interfaces of its network namespace, also those that come later. The kernel fills blocks of shared
memory with packets (TPACKET_V3, packet(7), Documentation/networking/packet_mmap.rst) and hands over a block when it is
full, or when its oldest packet is BLOCK_TIMEOUT_MS old.
"""

from __future__ import annotations

import ctypes
import mmap
import socket
import struct
from collections.abc import Iterator
from typing import Any

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.links.splice import FIRST_INDEX as FIRST_DIVERSION_INDEX
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.netlink import LOOPBACK_IFINDEX

BLOCK_TIMEOUT_MS = 20
# Holds the longest packet, 64 KiB, and its headers.
BLOCK_BYTES = 1 << 18
# As sll_pkttype tells it.
OUTGOING = 4

_SOL_PACKET = 263
_RX_RING, _STATISTICS, _VERSION = 5, 6, 10
_TPACKET_V3 = 2
_ETH_P_ALL = 3
_SO_ATTACH_FILTER = 26

# struct tpacket_req3: block size and number, frame size and number (only checked), timeout, private area, features.
_REQUEST = struct.Struct("=7I")
_FRAME_BYTES = 2048
_BLOCK_STATUS, _BLOCK_PACKETS, _BLOCK_FIRST = 8, 12, 16  # offsets in struct tpacket_block_desc
_KERNELS, _OURS = 0, 1
# struct tpacket3_hdr: offset of the next one, seconds, nanoseconds, captured, length, status, offsets of the frame and
# of its payload, VLAN tag and its protocol; struct sockaddr_ll: protocol, interface, hardware type, packet type, the
# address's length, address.
_PACKET = struct.Struct("=6I2H4xIH10x2xHiHBB8s")
_COUNTS = struct.Struct("=3I")

_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_PACKET_TYPE, _IFINDEX = 0xFFFFF004, 0xFFFFF008  # SKF_AD_OFF + SKF_AD_PKTTYPE, SKF_AD_IFINDEX

# Where a packet's header begins in the ring, and what it says.
Packet = tuple[int, tuple[Any, ...]]


def open_socket(netns: int, ports: range, snap_length: int, ring_bytes: int, node: str = "") -> socket.socket:
    """A packet socket on all interfaces of a node, its ring set up and filling.

    Left out are the loopback interface and those whose index is in `ports`. Raises KernelError.
    """
    try:
        with entered(netns):
            # Setting the ring up throws away what has come before.
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            sock = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
        try:
            sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
            _attach_filter(sock, interface_filter(ports, snap_length))
            blocks = max(2, ring_bytes // BLOCK_BYTES)
            frames = blocks * BLOCK_BYTES // _FRAME_BYTES
            request = _REQUEST.pack(BLOCK_BYTES, blocks, _FRAME_BYTES, frames, BLOCK_TIMEOUT_MS, 0, 0)
            sock.setsockopt(_SOL_PACKET, _RX_RING, request)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise KernelError("open a socket that captures", error.errno or 0, node) from error
    return sock


def interface_filter(ports: range, snap_length: int) -> bytes:
    """A classic BPF program that returns how much of a packet is kept.

    Of the link emulator's interfaces it passes what they send: among that is what it takes out of the way of others.
    """
    program = (
        (_LOAD, 0, 0, _IFINDEX),
        (_JUMP_EQUAL, 6, 0, LOOPBACK_IFINDEX),
        (_JUMP_AT_LEAST, 2, 0, FIRST_DIVERSION_INDEX),
        (_JUMP_AT_LEAST, 0, 3, ports.start),
        (_JUMP_AT_LEAST, 2, 3, ports.stop),
        (_LOAD, 0, 0, _PACKET_TYPE),
        (_JUMP_EQUAL, 0, 1, OUTGOING),
        (_RETURN, 0, 0, snap_length),
        (_RETURN, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*each) for each in program)


class Ring:
    """Reads what a socket of `open_socket` captures. It takes the socket over."""

    def __init__(self, sock: socket.socket, ring_bytes: int) -> None:
        self.socket = sock
        self._blocks = max(2, ring_bytes // BLOCK_BYTES)
        self._map = mmap.mmap(sock.fileno(), self._blocks * BLOCK_BYTES, mmap.MAP_SHARED)
        self.memory = memoryview(self._map)
        self._words = self.memory.cast("I")
        self._next = 0
        self.dropped = 0

    @property
    def is_empty(self) -> bool:
        """Whether the kernel holds nothing that it has not handed over yet, and we nothing that was not read."""
        block = self._next * BLOCK_BYTES
        return self._words[(block + _BLOCK_STATUS) // 4] == _KERNELS and not self._words[(block + _BLOCK_PACKETS) // 4]

    def blocks(self) -> Iterator[list[Packet]]:
        """The packets of each block that is ours. Their memory is the kernel's again when the next one is asked for."""
        while True:
            block = self._next * BLOCK_BYTES
            status = (block + _BLOCK_STATUS) // 4
            if not self._words[status] & _OURS:
                return
            yield self._packets(block)
            self._words[status] = _KERNELS
            self._next = (self._next + 1) % self._blocks

    def count_drops(self) -> int:
        """How many packets the ring had no room for since the last call."""
        _, dropped, _ = _COUNTS.unpack(self.socket.getsockopt(_SOL_PACKET, _STATISTICS, _COUNTS.size))
        self.dropped += dropped
        return int(dropped)

    def close(self) -> None:
        """Gives the socket and its memory back."""
        self._words.release()
        self.memory.release()
        self._map.close()
        self.socket.close()

    def _packets(self, block: int) -> list[Packet]:
        at = block + self._words[(block + _BLOCK_FIRST) // 4]
        memory, unpack = self.memory, _PACKET.unpack_from
        found: list[Packet] = []
        for _ in range(self._words[(block + _BLOCK_PACKETS) // 4]):
            header = unpack(memory, at)
            found.append((at, header))
            at += header[0]
        return found


def _attach_filter(sock: socket.socket, program: bytes) -> None:
    memory = ctypes.create_string_buffer(program)
    # struct sock_fprog
    described = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
