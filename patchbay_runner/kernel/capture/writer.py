"""From packets in a ring to files: one an interface, begun anew when it has half of the size that it may have."""

from __future__ import annotations

import os
import platform
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.kernel.capture import pcapng
from patchbay_runner.kernel.capture.ring import OUTGOING, Packet
from patchbay_runner.model.capture import PacketCapture

_VLAN_VALID, _VLAN_PROTOCOL_VALID = 1 << 4, 1 << 6  # TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
_VLAN_AT = 12
_ETH_P_8021Q = 0x8100
# epb_flags by sll_pkttype: inbound, and received as unicast, broadcast, multicast or for others; outbound.
_FLAGS = (0b00101, 0b01101, 0b01001, 0b10001, 0b00010)
_PIECES_PER_WRITE = 1023  # 3 a packet; writev(2) takes 1,024
_NANOSECONDS = 1_000_000_000
_SYSTEM = f"{platform.system()} {platform.release()}"


class Keeper(Protocol):
    """Where captures are kept, and how much of them."""

    options: PacketCapture

    def begin(self, node: str, interface: str) -> int:
        """A descriptor of the interface's file, empty. What was in it moves to the older file. Raises HostError."""

    def path(self, node: str, interface: str) -> str:
        """What the record calls the file."""


class InterfaceCounts(msgspec.Struct, frozen=True):
    """What was captured of an interface. `overwritten` are the packets that made room for later ones."""

    node: str
    iface: str
    path: str
    packets: int
    bytes: int
    overwritten: int


@dataclass(slots=True)
class InterfaceFile:
    """The capture of one interface."""

    keeper: Keeper
    node: str
    name: str
    hardware_type: int
    packets: int = 0
    bytes_passed: int = 0
    overwritten: int = 0
    _fd: int = -1
    _written: int = 0
    _in_file: int = 0
    _in_older: int = 0
    _link_type: int = field(init=False)

    def __post_init__(self) -> None:
        self._link_type = pcapng.link_type(self.hardware_type)
        self._begin()

    def become(self, hardware_type: int) -> None:
        """An interface of the same name and of this kind has come in its place."""
        if hardware_type != self.hardware_type:
            self.hardware_type = hardware_type
            self._link_type = pcapng.link_type(hardware_type)
            self._begin()

    def add(self, memory: memoryview, packets: Iterable[Packet]) -> None:
        """Writes packets of a ring. Raises HostError."""
        pieces: list[bytes | memoryview] = []
        is_cooked = self._link_type == pcapng.LINUX_COOKED
        for at, header in packets:
            _, seconds, nanoseconds, captured, length, status, mac, _, _, _, _, _, _, kind, _, _ = header
            data: bytes | memoryview = memory[at + mac : at + mac + captured]
            if is_cooked or status & _VLAN_VALID:
                data = _cooked(memory, at, header) if is_cooked else _tagged(data, header)
                length += len(data) - captured
            flags = _FLAGS[kind] if kind <= OUTGOING else 0
            before, behind = pcapng.packet(seconds * _NANOSECONDS + nanoseconds, len(data), length, flags)
            pieces += (before, data, behind)
            self.bytes_passed += length
        for first in range(0, len(pieces), _PIECES_PER_WRITE):
            self._write(*pieces[first : first + _PIECES_PER_WRITE])
        self.packets += len(pieces) // 3
        self._in_file += len(pieces) // 3
        if self._written >= self.keeper.options.max_bytes // 2:
            self._begin()

    def add_statistics(self, node_drops: int) -> None:
        """Notes how many packets there were, and how many were dropped of all interfaces of the node."""
        comment = f"dropped at all interfaces of {self.node} together" if node_drops else ""
        self._write(pcapng.statistics(time.time_ns(), self.packets, node_drops, comment))

    def counts(self) -> InterfaceCounts:
        """So far."""
        path = self.keeper.path(self.node, self.name)
        return InterfaceCounts(self.node, self.name, path, self.packets, self.bytes_passed, self.overwritten)

    def _begin(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = self.keeper.begin(self.node, self.name)
        self.overwritten += self._in_older
        self._in_older, self._in_file, self._written = self._in_file, 0, 0
        self._write(
            pcapng.section("patchbay", _SYSTEM)
            + pcapng.interface(
                self._link_type, self.keeper.options.snap_length, self.name, f"{self.name} of {self.node}", _SYSTEM
            )
        )

    def _write(self, *pieces: bytes | memoryview) -> None:
        try:
            written = os.writev(self._fd, pieces)
        except OSError as error:
            path = self.keeper.path(self.node, self.name)
            raise HostError(f"cannot write {path}: {error.strerror}") from error
        self._written += written
        if written < sum(map(len, pieces)):  # the disk is full: the rest says so
            self._write(b"".join(pieces)[written:])


def _tagged(frame: bytes | memoryview, header: tuple[Any, ...]) -> bytes:
    """A frame with the VLAN tag that the kernel keeps beside it."""
    _, _, _, _, _, status, _, _, tag, protocol, *_ = header
    protocol = protocol if status & _VLAN_PROTOCOL_VALID else _ETH_P_8021Q
    return bytes(frame[:_VLAN_AT]) + struct.pack(">HH", protocol, tag) + bytes(frame[_VLAN_AT:])


def _cooked(memory: memoryview, at: int, header: tuple[Any, ...]) -> bytes:
    """A packet behind the header of LINKTYPE_LINUX_SLL, which any kind of interface can have."""
    _, _, _, captured, _, _, mac, net, _, _, protocol, _, hardware_type, kind, address_length, address = header
    payload = memory[at + net : at + mac + captured]
    head = struct.pack(">HHH8s", kind, hardware_type, address_length, address) + struct.pack("=H", protocol)
    return head + bytes(payload)
