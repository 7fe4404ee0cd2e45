"""A NETLINK_ROUTE socket that sends requests in bulk."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from errno import EINTR, ENOBUFS
from types import TracebackType
from typing import Self

from patchbay_runner.errors import KernelError
from patchbay_runner.kernel.namespaces import entered
from patchbay_runner.kernel.netlink import wire
from patchbay_runner.kernel.netlink.describe import describe

_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NLMSGERR_ATTR_MSG, _NLMSGERR_ATTR_OFFS = 1, 2

# The kernel refuses a datagram larger than SO_SNDBUF - 32 (212,992 bytes by default).
_CHUNK_BYTES = 128 * 1024
_RECEIVE_BYTES = 64 * 1024
_DUMP_ATTEMPTS = 10
_FLAGS_OFFSET, _SEQUENCE_OFFSET = 6, 8
_ERRNO = struct.Struct("=i")
_U32 = struct.Struct("=I")


class NetlinkSocket:
    """A netlink socket in the network namespace of the thread that makes it; usable from anywhere afterwards.

    `node` names the namespace in errors.
    """

    __slots__ = ("_socket", "node")

    def __init__(self, node: str = "") -> None:
        self.node = node
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        except OSError as error:
            raise KernelError("open netlink socket", error.errno or 0, node) from error

    @classmethod
    def inside(cls, netns_fd: int, node: str = "") -> Self:
        """A socket in the network namespace `netns_fd`; the thread comes back."""
        with entered(netns_fd):
            return cls(node)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def batch(self, requests: Sequence[bytes]) -> None:
        """Carry out the requests in order, in as few system calls as the kernel takes.

        Raises KernelError for the first request refused. The kernel carries on after a refusal, so that those after
        it in the same datagram (128 KiB) have been tried.
        """
        start = 0
        while start < len(requests):
            end = _end_of_chunk(requests, start)
            self._send_chunk(requests[start:end])
            start = end

    def request(self, request: bytes) -> None:
        """Carry out one request."""
        self._send_chunk((request,))

    def ask(self, request: bytes) -> bytes:
        """The body of the answer to a request for one thing. Raises KernelError when it is not there."""
        self._send(request)
        for kind, flags, _, body in wire.split_messages(self._receive(0)):
            if kind == wire.NLMSG_ERROR:
                raise self._refusal(request, body, flags)
            return body
        raise KernelError(describe(request), ENOBUFS, self.node, "no answer came")

    def dump(self, request: bytes) -> list[bytes]:
        """The bodies of the answers to a dump request, of a table that did not change while it was read."""
        for _ in range(_DUMP_ATTEMPTS):
            bodies, consistent = self._dump_once(request)
            if consistent:
                return bodies
        raise KernelError(describe(request), EINTR, self.node, "the table keeps changing while it is read")

    def _dump_once(self, request: bytes) -> tuple[list[bytes], bool]:
        self._send(request)
        bodies: list[bytes] = []
        consistent = True
        while True:
            for kind, flags, _, body in wire.split_messages(self._receive(0)):
                consistent = consistent and not flags & wire.NLM_F_DUMP_INTR
                if kind == wire.NLMSG_DONE:
                    return bodies, consistent
                if kind == wire.NLMSG_ERROR:
                    raise self._refusal(request, body, flags)
                bodies.append(body)

    def _send_chunk(self, requests: Sequence[bytes]) -> None:
        """Send one datagram, acknowledged at its end, and read what the kernel has to say of it.

        The kernel works through a datagram inside `send`, so that every answer is there when it returns.
        Refused requests answer without being asked to, which makes one acknowledgement enough.
        """
        datagram = bytearray(b"".join(requests))
        offset = last = 0
        for sequence, request in enumerate(requests):
            _U32.pack_into(datagram, offset + _SEQUENCE_OFFSET, sequence)
            last = offset
            offset += len(request)
        datagram[last + _FLAGS_OFFSET] |= wire.NLM_F_ACK
        self._send(datagram)
        failure = self._read_answers(requests)
        if failure is not None:
            raise failure

    def _read_answers(self, requests: Sequence[bytes]) -> KernelError | None:
        """Read up to the acknowledgement of the last request; return the first refusal."""
        failure: KernelError | None = None
        while True:
            try:
                answers = self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return failure or KernelError("netlink batch", ENOBUFS, self.node, "no acknowledgement came")
            except KernelError as error:
                if error.errno != ENOBUFS:
                    raise
                continue  # so many refusals that some were dropped; the first ones are in the queue
            for kind, flags, sequence, body in wire.split_messages(answers):
                if kind != wire.NLMSG_ERROR:
                    continue
                if body[:4] != bytes(4) and failure is None:
                    failure = self._refusal(requests[sequence], body, flags)
                if sequence == len(requests) - 1:
                    return failure

    def _send(self, datagram: bytes | bytearray) -> None:
        try:
            self._socket.send(datagram)
        except OSError as error:
            raise KernelError("send netlink batch", error.errno or 0, self.node) from error

    def _receive(self, flags: int) -> bytes:
        try:
            return self._socket.recv(_RECEIVE_BYTES, flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise KernelError("receive netlink answer", error.errno or 0, self.node) from error

    def _refusal(self, request: bytes, body: bytes, flags: int) -> KernelError:
        (code,) = _ERRNO.unpack_from(body)
        return KernelError(describe(request), -code, self.node, _extended_ack(body, flags))


def _end_of_chunk(requests: Sequence[bytes], start: int) -> int:
    """Where the datagram that begins with request `start` has to end."""
    size = 0
    for index in range(start, len(requests)):
        size += len(requests[index])
        if size > _CHUNK_BYTES and index > start:
            return index
    return len(requests)


def _extended_ack(body: bytes, flags: int) -> str:
    """What the kernel says about a refusal beside its errno, "" when it says nothing."""
    if not flags & wire.NLM_F_ACK_TLVS:
        return ""
    (echoed_length,) = _U32.unpack_from(body, _ERRNO.size)
    echoed = wire.HEADER_SIZE if flags & wire.NLM_F_CAPPED else echoed_length
    attributes = wire.parse_attributes(body, _ERRNO.size + ((echoed + 3) & ~3))
    message = attributes.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    if not message and _NLMSGERR_ATTR_OFFS in attributes:
        message = f"the attribute at byte {_U32.unpack(attributes[_NLMSGERR_ATTR_OFFS])[0]} of the request"
    return message
