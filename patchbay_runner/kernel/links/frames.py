"""Frames in and out of packet sockets, many a system call: recvmmsg(2) and sendmmsg(2) on memory that is reused.

A frame lies in a slot from its arrival to its departure, behind the 10 bytes of its virtio_net_hdr (PACKET_VNET_HDR),
and is never copied in between; a slot is named by its address. Slots are taken last in, first out, so that only as
many pages are touched as frames are under way. The layouts are those of 64-bit Linux.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
import time
from array import array
from collections.abc import Sequence

from patchbay_runner.errors import KernelError

# The largest segment that the kernel passes whole, with the headers before it, in whole pages.
SLOT_SIZE = 17 * 4096
BATCH = 64

_CHUNK_SLOTS = 256
_MAP_NORESERVE = 0x4000
_SOL_PACKET = 263
_PACKET_STATISTICS, _PACKET_VNET_HDR, _PACKET_QDISC_BYPASS, _PACKET_IGNORE_OUTGOING = 6, 15, 20, 23
_SO_TIMESTAMPNS_NEW = 64
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_ETH_P_ALL = 3
_WANTED_BUFFER_BYTES = 16 << 20

# struct mmsghdr as 8-byte words: name, its length, iovec, its count, control, its length, flags, bytes received.
_HEADER_WORDS, _NAME, _NAME_LENGTH, _IOV, _IOV_COUNT, _CONTROL, _CONTROL_LENGTH = 8, 0, 1, 2, 3, 4, 5
_RECEIVED_HALF_WORD = 14
_CONTROL_BYTES = 32  # one cmsg: header of 16, struct __kernel_timespec of 16
_NAME_BYTES, _PACKET_TYPE = 32, 10  # struct sockaddr_ll has 20; where its sll_pkttype lies
_TO_GROUP = (1, 2)  # PACKET_BROADCAST, PACKET_MULTICAST

_libc = ctypes.CDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class SlotPool:
    """Memory for frames; grows as needed and keeps what it has."""

    def __init__(self) -> None:
        self._chunks: list[mmap.mmap] = []
        self.free: list[int] = []

    def take(self, count: int) -> list[int]:
        """The addresses of `count` slots. Give them back by adding them to `free`."""
        while len(self.free) < count:
            self._grow()
        taken = self.free[-count:]
        del self.free[-count:]
        return taken

    def _grow(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        chunk = mmap.mmap(-1, _CHUNK_SLOTS * SLOT_SIZE, flags)
        self._chunks.append(chunk)
        first = _address_of(chunk)
        self.free.extend(range(first + (_CHUNK_SLOTS - 1) * SLOT_SIZE, first - 1, -SLOT_SIZE))


class Receiver:
    """Takes frames out of packet sockets, one socket at a time.

    `unreadable` counts segments of a protocol that virtio_net_hdr cannot describe to us (SCTP's; UDP's before Linux
    6.2), which the kernel takes off the socket and throws away.
    """

    def __init__(self, pool: SlotPool) -> None:
        self.unreadable = 0
        self._pool = pool
        self._slots = pool.take(BATCH)
        self._headers = _Headers(BATCH)
        control = bytearray(BATCH * _CONTROL_BYTES)
        self._stamps = memoryview(control).cast("Q")
        self._control_lengths = array("Q", [_CONTROL_BYTES] * BATCH)
        self._names = bytearray(BATCH * _NAME_BYTES)
        self._name_lengths = array("Q", [_NAME_BYTES] * BATCH)
        self._headers.words[_NAME::_HEADER_WORDS] = _addresses(_address_of(self._names), _NAME_BYTES, BATCH)
        self._headers.words[_NAME_LENGTH::_HEADER_WORDS] = self._name_lengths
        self._headers.words[_CONTROL::_HEADER_WORDS] = _addresses(_address_of(control), _CONTROL_BYTES, BATCH)
        self._headers.words[_CONTROL_LENGTH::_HEADER_WORDS] = self._control_lengths
        self._headers.iovecs[0::2] = array("Q", self._slots)
        self._headers.iovecs[1::2] = array("Q", [SLOT_SIZE] * BATCH)

    def receive(self, fd: int) -> list[tuple[int, int, int, bool]]:
        """Up to BATCH frames: kernel receive time on the monotonic clock (ns), slot, length with the vnet header,
        and whether they are for a group.

        An interface that is down has none. The slots are the caller's to give back.
        """
        count = _libc.recvmmsg(fd, self._headers.address, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return self._nothing(ctypes.get_errno())
        # The kernel stamps with the wall clock, which may be set at any time; the age of a frame is what matters.
        wall_ns, now_ns = time.time_ns(), time.monotonic_ns()
        words = 4 * count
        ages = [
            wall_ns - 1_000_000_000 * seconds - nanoseconds
            for seconds, nanoseconds in zip(self._stamps[2:words:4], self._stamps[3:words:4], strict=True)
        ]
        lengths = self._headers.halves[_RECEIVED_HALF_WORD : 16 * count : 16].tolist()
        types = self._names[_PACKET_TYPE : count * _NAME_BYTES : _NAME_BYTES]
        filled = self._slots[:count]
        self._refill(count)
        return [
            (now_ns - age_ns if 0 < age_ns < 1_000_000_000 else now_ns, slot, length, kind in _TO_GROUP)
            for age_ns, slot, length, kind in zip(ages, filled, lengths, types, strict=True)
        ]

    def _refill(self, count: int) -> None:
        fresh = self._pool.take(count)
        self._slots[:count] = fresh
        self._headers.iovecs[0 : 2 * count : 2] = array("Q", fresh)
        # The kernel has put what it wrote in the place of what there is room for.
        self._headers.words[_NAME_LENGTH : 8 * count : _HEADER_WORDS] = self._name_lengths[:count]
        self._headers.words[_CONTROL_LENGTH : 8 * count : _HEADER_WORDS] = self._control_lengths[:count]

    def _nothing(self, code: int) -> list[tuple[int, int, int, bool]]:
        if code in (errno.EAGAIN, errno.EINTR, errno.ENETDOWN):
            return []
        if code == errno.EINVAL:
            self.unreadable += 1
            return []
        raise KernelError("recvmmsg", code)


class Sender:
    """Puts frames into packet sockets, one socket at a time."""

    def __init__(self) -> None:
        self._headers = _Headers(BATCH)

    def send(self, fd: int, slots: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Sends at most BATCH frames in order; returns which the kernel refused, to an interface that is down say."""
        count = len(slots)
        self._headers.iovecs[0 : 2 * count : 2] = array("Q", slots)
        self._headers.iovecs[1 : 2 * count : 2] = array("Q", lengths)
        sent, refused = 0, []
        while sent < count:
            done = _libc.sendmmsg(fd, self._headers.address + 64 * sent, count - sent, socket.MSG_DONTWAIT)
            if done > 0:
                sent += done
            elif ctypes.get_errno() != errno.EINTR:
                refused.append(sent)
                sent += 1
        return refused


class _Headers:
    """`count` headers, each with one iovec of its own."""

    def __init__(self, count: int) -> None:
        self._memory = bytearray(count * _HEADER_WORDS * 8)
        self._iovec_memory = bytearray(count * 16)
        self.address = _address_of(self._memory)
        self.words = memoryview(self._memory).cast("Q")
        self.halves = memoryview(self._memory).cast("I")
        self.iovecs = memoryview(self._iovec_memory).cast("Q")
        self.words[_IOV::_HEADER_WORDS] = _addresses(_address_of(self._iovec_memory), 16, count)
        self.words[_IOV_COUNT::_HEADER_WORDS] = array("Q", [1] * count)


def receiving_socket(ifindex: int) -> socket.socket:
    """A packet socket in the current network namespace that reads every frame that arrives by an interface."""
    sock = _packet_socket()
    sock.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS_NEW, 1)
    _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
    _bind(sock, ifindex, _ETH_P_ALL)
    return sock


def sending_socket(ifindex: int, mark: int = 0) -> socket.socket:
    """A packet socket that sends by an interface, past its qdiscs; `mark` becomes the packets' mark."""
    sock = _packet_socket()
    sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
    if mark:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
    _bind(sock, ifindex, 0)
    return sock


def dropped_by_kernel(sock: socket.socket) -> int:
    """Frames since the last call that the kernel could not queue on the socket."""
    _, dropped = struct.unpack("=II", sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
    return int(dropped)


def _packet_socket() -> socket.socket:
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    except OSError as error:
        raise KernelError("open packet socket", error.errno or 0) from error
    sock.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    return sock


def _enlarge(sock: socket.socket, forced: int, polite: int) -> None:
    """As large a buffer as we may have: only the host's root may go past net.core.[rw]mem_max."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, _WANTED_BUFFER_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, polite, _WANTED_BUFFER_BYTES)


def _bind(sock: socket.socket, ifindex: int, protocol: int) -> None:
    try:
        sock.bind((socket.if_indextoname(ifindex), protocol))
    except OSError as error:
        raise KernelError(f"bind packet socket to interface {ifindex}", error.errno or 0) from error


def _address_of(memory: bytearray | mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _addresses(first: int, step: int, count: int) -> array[int]:
    return array("Q", range(first, first + step * count, step))
