"""What threads and the supervisor of their sockets say to each other: JSON records on SEQPACKET sockets.

A thread that is filtered already, by whichever process, gets a connection to its supervisor by a system call that no
kernel knows: `socket(CALL_FAMILY, SOCK_RAW, VERSION)`, which the supervisor answers with a descriptor.
"""

from __future__ import annotations

import msgspec

# Out of every kernel's range, so that without a supervisor the answer is EAFNOSUPPORT.
CALL_FAMILY, VERSION = 0x70627468, 1

# What stands in each node's /etc.
HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"


class Listener(msgspec.Struct, frozen=True):
    """To the supervisor, on its first channel: serve this filter. Brings the listener. `tid` is the thread.

    `paths` are addresses in the thread's memory with the text that stands there.
    """

    tid: int
    paths: dict[int, str]


class Enter(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: from now on the thread's sockets are a node's. Brings a connection to the lab's agent."""

    node: str


class Leave(msgspec.Struct, frozen=True, tag=True):
    """To the supervisor: no longer. Comes once, on the connection of its `Enter`."""


class Settled(msgspec.Struct, frozen=True, tag=True):
    """From the supervisor: it is so."""


ASKED: msgspec.json.Decoder[Enter | Leave] = msgspec.json.Decoder(Enter | Leave)
ANSWER = msgspec.json.Decoder(Settled)
LISTENER = msgspec.json.Decoder(Listener)
