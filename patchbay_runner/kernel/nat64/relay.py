"""The translator's loop: one packet socket, one frame at a time, until the process is ended."""

from __future__ import annotations

import errno
import socket
import time
from typing import NoReturn

from patchbay_runner.kernel.nat64 import fastpath, offload
from patchbay_runner.kernel.nat64.addresses import Nat64Config
from patchbay_runner.kernel.nat64.counters import COUNTERS
from patchbay_runner.kernel.nat64.fastpath import HEADROOM, IP_AT, V4_START, V6_START, FastPath
from patchbay_runner.kernel.nat64.headers import IPV4_HEADER, IPV6_HEADER, Untranslatable
from patchbay_runner.kernel.nat64.offload import ETHERNET_HEADER, HEADER, HEADER_SIZE, OTHER_SEGMENTATION, Offload
from patchbay_runner.kernel.nat64.translate import Translator

_INDEX = {name: index for index, name in enumerate(COUNTERS)}
_TO_IPV4, _TO_IPV6, _UNSENT = _INDEX["to_ipv4"], _INDEX["to_ipv6"], _INDEX["dropped_unsent"]
# Errors that a packet of a client's making can cause, or a link that is down, or a full queue: as on any router, they
# cost the packet. Others are ours.
_LOST = (errno.EINVAL, errno.EMSGSIZE, errno.ENOBUFS, errno.ENETDOWN, errno.ENETUNREACH)

_DESTINATION_AT, _MULTICAST = IP_AT + 24, 0xFF  # of IPv6


class Relay:
    """Translates what `sock` receives. Frames go to the hardware address `router`, from `own`."""

    def __init__(
        self, sock: socket.socket, config: Nat64Config, router: bytes, own: bytes, counters: memoryview
    ) -> None:
        self._socket = sock
        self._counters = counters
        self._buffer = bytearray(fastpath.BUFFER_SIZE)
        self._translator = Translator(config)
        self._ethernet = router + own
        self._fast = FastPath(self._buffer, self._translator, config, self._ethernet)

    def run(self) -> NoReturn:
        """Raises OSError when the link is gone."""
        buffer, view, counters = self._buffer, memoryview(self._buffer), self._counters
        place = view[HEADROOM:]
        receive, send = self._socket.recv_into, self._send
        to_ipv4, to_ipv6 = self._fast.to_ipv4, self._fast.to_ipv6
        while True:
            try:
                end = HEADROOM + receive(place)
            except OSError as error:
                # Told once when the link goes down, from where it may come back, and once when it is removed, which
                # takes its name from the socket.
                if error.errno != errno.ENETDOWN or not self._socket.getsockname()[0]:
                    raise
                continue
            version = buffer[IP_AT] >> 4
            if version == 6:
                if stop := to_ipv4(end):
                    counters[_TO_IPV4] += send(view[V4_START:stop])
                else:
                    self._translate(end, _TO_IPV4)
            elif version == 4:
                if stop := to_ipv6(end):
                    counters[_TO_IPV6] += send(view[V6_START:stop])
                else:
                    self._translate(end, _TO_IPV6)

    def _send(self, frame: memoryview | bytes) -> int:
        """How many packets were sent: one or none."""
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in _LOST:
                raise
            self._counters[_UNSENT] += 1
            return 0
        return 1

    def _translate(self, end: int, counter: int) -> None:
        """What the fast path has declined. The router's own multicast (RFC 3810, RFC 4861) is not for us."""
        if counter == _TO_IPV4 and self._buffer[_DESTINATION_AT] == _MULTICAST:
            return
        try:
            for frame in self._slowly(end, counter):
                self._counters[counter] += self._send(frame)
            self._fast.learn()
        except Untranslatable as refusal:
            self._counters[_INDEX[f"dropped_{refusal.cause}"]] += 1
        finally:
            self._fast.forget_stale()

    def _slowly(self, end: int, counter: int) -> list[bytes]:
        header = Offload(*HEADER.unpack_from(self._buffer, HEADROOM))
        packet = bytes(self._buffer[IP_AT:end])
        segment = 0
        if header.segmentation:
            if header.segmentation not in OTHER_SEGMENTATION or not header.needs_checksum:
                raise Untranslatable("segmentation")
            segment = header.segment_size + header.transport_header
        elif header.needs_checksum:
            packet = offload.with_checksum(packet, header)
        now_s = time.monotonic()
        if counter == _TO_IPV4:
            packets = self._translator.to_ipv4(packet, now_s, partial=bool(segment), segment=segment)
            ethertype, ip_header = b"\x08\x00", IPV4_HEADER
        else:
            packets = self._translator.to_ipv6(packet, now_s, partial=bool(segment), segment=segment)
            ethertype, ip_header = b"\x86\xdd", IPV6_HEADER
        todo = HEADER.pack(*header.moved(ip_header)) if segment else offload.NOTHING_LEFT
        return [todo + self._ethernet + ethertype + packet for packet in packets]


assert HEADROOM + HEADER_SIZE + ETHERNET_HEADER == IP_AT
