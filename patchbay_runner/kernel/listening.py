"""Which sockets wait for others on a port, in the network namespace of the calling thread.

Asked by sock_diag(7), which walks the listening sockets alone (0.1 ms); where the kernel is without it, read from
/proc/net, which walks all of the host's (5 ms).
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from patchbay_runner.errors import KernelError
from patchbay_runner.model.steps import Protocol

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
# struct inet_diag_req_v2 without its address, and where struct inet_diag_msg has the port and the inode.
_REQUEST = struct.Struct("=BBBBI48x")
_PORT, _PORT_OFFSET = struct.Struct("!H"), 4
_INODE, _INODE_OFFSET = struct.Struct("=I"), 68
_ERRNO = struct.Struct("=i")
# The states of a socket that waits (tcp_states.h): LISTEN, and for UDP, unconnected, which is called CLOSE.
_WAITING = {"tcp": 10, "udp": 7}
_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}


def listeners(protocol: Protocol, port: int) -> frozenset[int]:
    """The inodes of the sockets of both families that take what comes to a port. Raises KernelError."""
    try:
        return frozenset(asked(protocol, port))
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EPROTONOSUPPORT, errno.EINVAL):
            raise KernelError("list sockets", error.errno or 0) from error
    return frozenset(read(protocol, port))


def asked(protocol: Protocol, port: int) -> Iterator[int]:
    """By sock_diag. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as channel:
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, _NUMBERS[protocol], 0, 0, 1 << _WAITING[protocol])
            size = _HEADER.size + len(request)
            channel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + request)
            for message in _messages(channel):
                if _PORT.unpack_from(message, _PORT_OFFSET)[0] == port:
                    yield _INODE.unpack_from(message, _INODE_OFFSET)[0]


def read(protocol: Protocol, port: int) -> Iterator[int]:
    """From /proc/net (proc_pid_net(5)): local address, state and inode are columns 1, 3 and 9."""
    for name in (protocol, f"{protocol}6"):
        path = Path(f"/proc/thread-self/net/{name}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            columns = line.split()
            is_waiting = int(columns[3], 16) == _WAITING[protocol]
            if is_waiting and int(columns[1].rpartition(":")[2], 16) == port:
                yield int(columns[9])


def _messages(channel: socket.socket) -> Iterator[bytes]:
    """The bodies of a dump's messages."""
    while True:
        chunk = channel.recv(1 << 16)
        offset = 0
        while offset < len(chunk):
            size, kind, _, _, _ = _HEADER.unpack_from(chunk, offset)
            body = chunk[offset + _HEADER.size : offset + size]
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                number = -_ERRNO.unpack_from(body)[0]
                raise OSError(number, "sock_diag")
            yield body
            offset += (size + 3) & ~3
