"""What is captured of one node: whose each packet of its ring is, and the files of its interfaces."""

from __future__ import annotations

import fcntl
import struct

from patchbay_runner.kernel.capture.ring import Packet, Ring
from patchbay_runner.kernel.capture.writer import InterfaceCounts, InterfaceFile, Keeper
from patchbay_runner.kernel.links.splice import FIRST_INDEX as FIRST_DIVERSION_INDEX
from patchbay_runner.kernel.links.splice import diverted_from

_SIOCGIFNAME = 0x8910
_INTERFACE_REQUEST = struct.Struct("=16si20x")  # struct ifreq: name, index
_STATUS, _IFINDEX, _HARDWARE_TYPE = 5, 11, 12  # of a packet's header, see ring.py
_LOSING = 1 << 2  # TP_STATUS_LOSING: packets were dropped since somebody asked how many
_ETHERNET = 1


class Tap:
    """`ring` is there between `begin` and `end`; a node that goes and comes again has one after the other."""

    ring: Ring

    def __init__(self, node: str, keeper: Keeper) -> None:
        self.node = node
        self._keeper = keeper
        self._ports = range(0)
        self._names: dict[int, str] = {}
        self._files: dict[str, InterfaceFile] = {}
        self._dropped_before = 0
        self._is_open = False

    def begin(self, ring: Ring, ports: range, interfaces: tuple[str, ...]) -> None:
        """`interfaces` have a file at once, others when a packet passes them. Indices in `ports` are left out."""
        self.ring = ring
        self._is_open = True
        self._ports = ports
        self._names.clear()
        for name in interfaces:
            self._file(name, _ETHERNET)

    @property
    def dropped(self) -> int:
        """How many packets there was no room for."""
        return self._dropped_before + (self.ring.dropped if self._is_open else 0)

    def read(self) -> None:
        """Writes what the kernel has handed over. Raises HostError."""
        for packets in self.ring.blocks():
            if not packets:
                continue
            by_interface = self._sorted(packets)
            for index, its_packets in by_interface.items():
                file = self._file(self._names[index], its_packets[0][1][_HARDWARE_TYPE])
                file.add(self.ring.memory, its_packets)
            if packets[-1][1][_STATUS] & _LOSING and self.ring.count_drops():
                for index in by_interface:
                    self._files[self._names[index]].add_statistics(self.dropped)

    def end(self) -> None:
        """Ends the files with what was counted, and closes the ring, which keeps the node's namespace."""
        if not self._is_open:
            return
        self.ring.count_drops()
        for file in self._files.values():
            file.add_statistics(self.dropped)
        self._dropped_before = self.dropped
        self._is_open = False
        self.ring.close()

    def counts(self) -> list[InterfaceCounts]:
        """Of every interface."""
        return [file.counts() for file in self._files.values()]

    def _sorted(self, packets: list[Packet]) -> dict[int, list[Packet]]:
        owners: dict[int, int | None] = {}
        found: dict[int, list[Packet]] = {}
        for packet in packets:
            index = packet[1][_IFINDEX]
            if index not in owners:
                owners[index] = self._owner(index)
            owner = owners[index]
            if owner is not None:
                found.setdefault(owner, []).append(packet)
        return found

    def _owner(self, index: int) -> int | None:
        """Whose the packets of an interface are: the emulator's carry those of another."""
        self._names[index] = name = self._name(index)
        if index < FIRST_DIVERSION_INDEX:
            return index
        owner = diverted_from(name)
        if owner is None or owner in self._ports:
            return None
        self._names[owner] = self._name(owner)
        return owner

    def _name(self, index: int) -> str:
        """Asked anew for every block: an index may come to be another interface's. One that is gone keeps its name."""
        try:
            answer = fcntl.ioctl(self.ring.socket, _SIOCGIFNAME, _INTERFACE_REQUEST.pack(b"", index))
        except OSError:
            return self._names.get(index, f"interface-{index}")
        name: bytes = _INTERFACE_REQUEST.unpack(answer)[0]
        return name.rstrip(b"\0").decode(errors="replace")

    def _file(self, name: str, hardware_type: int) -> InterfaceFile:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = InterfaceFile(self._keeper, self.node, name, hardware_type)
        file.become(hardware_type)
        return file
