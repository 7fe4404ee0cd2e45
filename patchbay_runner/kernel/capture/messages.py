"""What the agent and the process that captures tell each other: whole datagrams of a Unix socket pair."""

from __future__ import annotations

import msgspec

from patchbay_runner.kernel.capture.writer import InterfaceCounts

MESSAGE_BYTES = 1 << 17


class Settle(msgspec.Struct, frozen=True, tag=True):
    """Write what has come by now."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """The same, and end."""


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Capture a node that has come, by the socket that goes along; interfaces with indices in `ports` are left out."""

    node: str
    ports: tuple[int, int]
    interfaces: tuple[str, ...]
    ring_bytes: int


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Write what has come of a node, and let go of it."""

    node: str


class Done(msgspec.Struct, frozen=True, tag=True):
    pass


class Counted(msgspec.Struct, frozen=True, tag=True):
    """A part of the counts; `dropped` comes with the last, by node."""

    interfaces: tuple[InterfaceCounts, ...]
    dropped: dict[str, int] | None = None


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It has ended: the host refused to keep the files, or, with a traceback, by a defect."""

    problem: str
    traceback: str = ""


Command = Settle | Finish | Watch | Leave
Answer = Done | Counted | Failed

encoder = msgspec.msgpack.Encoder()
command_decoder = msgspec.msgpack.Decoder[Command](Command)
answer_decoder = msgspec.msgpack.Decoder[Answer](Answer)
