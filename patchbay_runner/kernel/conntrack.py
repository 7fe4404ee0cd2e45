"""Forgetting the flows that a network namespace tracks (linux/netfilter/nfnetlink_conntrack.h)."""

from __future__ import annotations

import socket
import struct

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.namespaces import entered

_NETLINK_NETFILTER = 12
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port id
_SUBSYSTEM_HEADER = struct.Struct(">BBH")  # family (0: all), version, resource id
_DELETE_FLOWS = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE; without a tuple it is all of them
_REQUEST_AND_ACKNOWLEDGE = 0x05
_MARK, _MARK_MASK = 8, 21  # CTA_MARK, CTA_MARK_MASK: 32 bits in network order
_ALL_BITS = 0xFFFFFFFF
_ERRNO = struct.Struct("=i")


def flush(netns: int, node: str = "", *, mark: int | None = None) -> None:
    """Forgets every flow of both families, or those that carry `mark`. Raises KernelError, naming `node`."""
    attributes = b"" if mark is None else _attribute(_MARK, mark) + _attribute(_MARK_MASK, _ALL_BITS)
    try:
        with entered(netns):
            sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        with sock:
            size = _HEADER.size + _SUBSYSTEM_HEADER.size + len(attributes)
            header = _HEADER.pack(size, _DELETE_FLOWS, _REQUEST_AND_ACKNOWLEDGE, 1, 0)
            sock.send(header + _SUBSYSTEM_HEADER.pack(0, 0, 0) + attributes)
            (code,) = _ERRNO.unpack_from(sock.recv(4096), _HEADER.size)
    except OSError as error:
        raise KernelError("flush conntrack", error.errno or 0, node) from error
    if code:
        raise KernelError("flush conntrack", -code, node)


def _attribute(kind: int, value: int) -> bytes:
    return struct.pack("=HH", 8, kind) + value.to_bytes(4)
