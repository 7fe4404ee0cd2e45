"""What goes between the parent, the zygote and a sandbox: one JSON record a packet, descriptors beside it."""

from __future__ import annotations

import array
import errno
import os
import socket
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from patchbay_runner.kernel.mounts import HIDDEN_BELOW_RUN

# SCM_MAX_FD of the kernel, less what a request carries for itself.
MAX_PASSED_FDS = 253 - 3
_MAX_PACKET_BYTES = 64 * 1024

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox differs from the usual one.

    `user` "root" maps the caller to uid 0. `hidden_below_run` are paths relative to /run. `open_files` is the agent's
    RLIMIT_NOFILE, None all that the host allows; programs get the caller's own.
    """

    user: Literal["caller", "root"] = "caller"
    hostname: str = "patchbay"
    hidden_below_run: tuple[str, ...] = HIDDEN_BELOW_RUN
    open_files: int | None = None


class Request(msgspec.Struct, frozen=True):
    """Parent to zygote: start a sandbox. Descriptors: payload, control, status, then `descriptors` of the caller."""

    entry: str
    options: SandboxOptions
    descriptors: int


class Started(msgspec.Struct, frozen=True, tag=True):
    """Zygote to parent: the outer process is there. Descriptor: its pidfd."""

    pid: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Zygote to parent: no sandbox."""

    reason: str


class InitStarted(msgspec.Struct, frozen=True, tag=True):
    """Descriptor: init's pidfd."""


class AgentReady(msgspec.Struct, frozen=True, tag=True):
    """Everything is set up and the entry is about to be called. Descriptor: the agent's pidfd."""


class SetupFailed(msgspec.Struct, frozen=True, tag=True):
    """The kernel refused `operation` while the sandbox was made."""

    operation: str
    errno: int
    detail: str = ""


class AgentRaised(msgspec.Struct, frozen=True, tag=True):
    """The entry let an exception through."""

    traceback: str


class AgentEnded(msgspec.Struct, frozen=True, tag=True):
    """Init to parent: the agent's wait status."""

    wait_status: int


class InitEnded(msgspec.Struct, frozen=True, tag=True):
    """Outer to parent, the last word: nothing runs in the sandbox any more. Init's wait status."""

    wait_status: int


Reply = Started | Refused | SetupFailed
Status = InitStarted | AgentReady | SetupFailed | AgentRaised | AgentEnded | InitEnded

REQUEST = msgspec.json.Decoder(Request)
REPLY: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
STATUS: msgspec.json.Decoder[Status] = msgspec.json.Decoder(Status)


class RecordDecoder(Protocol[M_co]):
    """What we use of msgspec's decoders."""

    def decode(self, buf: bytes, /) -> M_co:
        """Raises msgspec.MsgspecError."""


def send(channel: socket.socket, message: msgspec.Struct, fds: Sequence[int] = ()) -> bool:
    """Sends a record; False when the other side is gone, which its own watchers deal with."""
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        channel.sendmsg([msgspec.json.encode(message)], ancillary, socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def receive(channel: socket.socket, decoder: RecordDecoder[M], flags: int = 0) -> tuple[M | None, list[int]]:
    """The next record and its descriptors (close-on-exec); (None, []) at the end.

    Raises msgspec.MsgspecError for a record of another kind, its descriptors closed; BlockingIOError with
    MSG_DONTWAIT when there is none.
    """
    space = socket.CMSG_SPACE(253 * array.array("i").itemsize)
    try:
        data, ancillary, _, _ = channel.recvmsg(_MAX_PACKET_BYTES, space, flags | socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None, []
    fds = array.array("i")
    for level, kind_of_data, content in ancillary:
        if (level, kind_of_data) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if not data:
        return None, []
    try:
        return decoder.decode(data), list(fds)
    except msgspec.MsgspecError:
        close_all(fds)
        raise


def close_all(fds: Sequence[int] | array.array[int]) -> None:
    """Closes descriptors; one that is closed already is a defect and raises."""
    for fd in fds:
        os.close(fd)


def errno_of(error: OSError) -> int:
    """The error number, also of an OSError that was made without one."""
    return error.errno or errno.EIO
