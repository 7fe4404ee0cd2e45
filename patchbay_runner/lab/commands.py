"""The one set of commands that an agent serves: what the runner, tests, the library and other shells ask of a lab.

A request and its reply are one message each on a Unix SEQPACKET socket, JSON with the record's tag; descriptors travel
beside it. Messages too large for a packet travel in a memory file.
"""

from __future__ import annotations

import array
import os
import socket
from typing import Any, Literal, TypeVar

import msgspec

from patchbay_runner.errors import LabError
from patchbay_runner.model.firewall import Firewall
from patchbay_runner.model.links import Direction, LinkCondition
from patchbay_runner.model.names import NameRecord
from patchbay_runner.model.nat import Nat
from patchbay_runner.model.topology import REBOOT_S, NatV6, Topology

Family = Literal["inet", "inet6", "packet"]
NodeFileName = Literal["hosts", "resolv.conf"]

# Comfortably below the kernel's default socket buffer of 208 KiB, which bounds a packet.
_PACKET_LIMIT = 96 * 1024
_MAX_FDS = 16


class Command(msgspec.Struct, frozen=True, tag_field="command", tag=str.lower):
    """A request to an agent."""


class Build(Command, frozen=True):
    """Builds the topology; a lab is built once. `seed` as in `lab.LabOptions`. Replies `NodeList`."""

    topology: Topology
    seed: int | None = None


class Spawn(Command, frozen=True):
    """Starts a program in a node. Brings three descriptors: its standard input, output and error. Replies `Started`
    with a descriptor of the process (pidfd_open(2)).

    `env` is added to the environment that the lab gives every program.
    """

    node: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}
    cwd: str | None = None


class Wait(Command, frozen=True):
    """Waits for a program's end. Replies `Exited`."""

    pid: int


class Signal(Command, frozen=True):
    """Signals a program's whole process group. Replies `Done`."""

    pid: int
    signal: int


class Socket(Command, frozen=True):
    """Makes a socket in a node. Replies `Done` with one descriptor.

    Numbers are those of the kernel; `kind` may carry SOCK_NONBLOCK then. The descriptor is close-on-exec.
    """

    node: str
    family: Family | int = "inet"
    kind: Literal["stream", "dgram", "raw"] | int = "stream"
    protocol: int = 0


class NodeFile(Command, frozen=True):
    """Opens one of the files that differ from node to node, for reading. Replies `Done` with one descriptor."""

    node: str
    name: NodeFileName


class Extend(Command, frozen=True):
    """Adds regions, links between regions, routers, devices and names to the network. Replies `Done`."""

    addition: Topology


class RemoveDevice(Command, frozen=True):
    """Takes a device away with the programs in it. Replies `Done`."""

    device: str


class RemoveRouter(Command, frozen=True):
    """Takes a router away that has nothing behind it. Replies `Done`."""

    router: str


class Enter(Command, frozen=True):
    """Asks for the way into a node, for a program that somebody starts from outside on a terminal of their own.

    Replies `Entered` with six descriptors: the user, PID, IPC, UTS, network and mount namespaces.
    """

    node: str


class Views(Command, frozen=True):
    """Asks which programs are whose. Replies `ViewList`."""


class Resume(Command, frozen=True):
    """Lets a sim that waits because it failed go on to its end. Replies `Done`, also when none waits."""


class LinkDown(Command, frozen=True):
    """Takes a device's interface down. Replies `Done`."""

    device: str
    interface: str


class LinkUp(Command, frozen=True):
    """Brings a device's interface up, with its addresses and routes. Replies `Done`."""

    device: str
    interface: str


class SetDefaultRoute(Command, frozen=True):
    """Moves a device's default routes. Replies `Done`."""

    device: str
    interface: str


class Replug(Command, frozen=True):
    """Moves a device's interface to another router. Replies `Done`."""

    device: str
    interface: str
    router: str


class AddInterface(Command, frozen=True):
    """Adds an interface to a device. Replies `Done`."""

    device: str
    interface: str
    router: str


class RemoveInterface(Command, frozen=True):
    """Takes an interface from a device. Replies `Done`."""

    device: str
    interface: str


class RenewAddress(Command, frozen=True):
    """Gives a device's interface new addresses. Replies `Done`."""

    device: str
    interface: str


class SetLinkCondition(Command, frozen=True):
    """Impairs a device's link, or clears it. Replies `Done`."""

    device: str
    interface: str
    condition: LinkCondition | None = None
    direction: Direction = "up"


class SetDownlink(Command, frozen=True):
    """Impairs what a router sends into its LAN, or clears it. Replies `Done`."""

    router: str
    condition: LinkCondition | None = None


class SetUplink(Command, frozen=True):
    """Impairs what a router sends to its uplink, or clears it. Replies `Done`."""

    router: str
    condition: LinkCondition | None = None


class SetNat(Command, frozen=True):
    """Changes a router's NAT. Replies `Done`."""

    router: str
    nat: Nat


class SetNatV6(Command, frozen=True):
    """Changes how a router translates IPv6. Replies `Done`."""

    router: str
    nat_v6: NatV6


class RebootRouter(Command, frozen=True):
    """Makes a router forget what it has learned, and carry nothing for a while. Replies `Done` when it is back."""

    router: str
    down_for_s: float = REBOOT_S


class FlushNat(Command, frozen=True):
    """Makes a router forget its mappings and flows. Replies `Done`."""

    router: str


class SetFirewall(Command, frozen=True):
    """Changes a router's firewall. Replies `Done`."""

    router: str
    firewall: Firewall


class BreakRegionLink(Command, frozen=True):
    """Parts two linked regions. Replies `Done`."""

    a: str
    b: str


class RestoreRegionLink(Command, frozen=True):
    """Joins two regions that were parted. Replies `Done`."""

    a: str
    b: str


class SetNames(Command, frozen=True):
    """Changes what names stand for, for one device or for all; an empty record takes a name away. Replies `Done`."""

    records: tuple[NameRecord, ...]
    device: str | None = None


class State(Command, frozen=True):
    """Asks for the lab's state. Replies `NodeList`."""


class Connect(Command, frozen=True):
    """Asks for a further connection to the agent. Replies `Done` with one descriptor."""


Change = (
    Extend
    | RemoveDevice
    | RemoveRouter
    | LinkDown
    | LinkUp
    | SetDefaultRoute
    | Replug
    | AddInterface
    | RemoveInterface
    | RenewAddress
    | SetLinkCondition
    | SetDownlink
    | SetUplink
    | SetNat
    | SetNatV6
    | RebootRouter
    | FlushNat
    | SetFirewall
    | BreakRegionLink
    | RestoreRegionLink
    | SetNames
)
AnyCommand = Build | Spawn | Wait | Signal | Socket | NodeFile | Enter | Views | Resume | Change | State | Connect


class Reply(msgspec.Struct, frozen=True, tag_field="reply", tag=str.lower):
    """An answer of an agent."""


class Done(Reply, frozen=True):
    """It is done."""


class Started(Reply, frozen=True):
    """The program runs; `pid` is its number inside the sandbox."""

    pid: int


class Exited(Reply, frozen=True):
    """The program has ended; a signal is a negative number, as in `subprocess`."""

    returncode: int


class NodeList(Reply, frozen=True):
    """The lab's state: what `state.json` holds."""

    state: dict[str, Any]


class Entered(Reply, frozen=True):
    """`env` is what the lab gives every program of the node."""

    env: dict[str, str]


class ViewList(Reply, frozen=True):
    """Nodes in which something was started, each with the inode of the mount namespace that its programs have."""

    mounts: dict[str, int]


class Refused(Reply, frozen=True):
    """The command failed. `kind` names the class of the error in `errors.py`, `errno` what the kernel said or 0."""

    kind: str
    message: str
    errno: int = 0


AnyReply = Done | Started | Exited | NodeList | Entered | ViewList | Refused

_T = TypeVar("_T")

_encoder = msgspec.json.Encoder()
_commands: msgspec.json.Decoder[AnyCommand] = msgspec.json.Decoder(AnyCommand)
_replies: msgspec.json.Decoder[AnyReply] = msgspec.json.Decoder(AnyReply)


def send_message(sock: socket.socket, message: Command | Reply, fds: tuple[int, ...] = ()) -> None:
    """Sends one message with descriptors. Blocks while the peer does not read."""
    data = _encoder.encode(message)
    if len(data) <= _PACKET_LIMIT:
        _send_packet(sock, b"J" + data, fds)
        return
    spill = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(spill), "wb") as file:
            file.write(data)
        _send_packet(sock, b"M", (spill, *fds))
    finally:
        os.close(spill)


def receive_command(sock: socket.socket) -> tuple[AnyCommand, tuple[int, ...]] | None:
    """The next command, or None when the peer has closed. The caller closes the descriptors.

    Raises msgspec.MsgspecError for what is not a command.
    """
    received = _receive(sock)
    return None if received is None else _decode(_commands, *received)


def receive_reply(sock: socket.socket) -> tuple[AnyReply, tuple[int, ...]]:
    """The next reply. Raises LabError when the agent is gone. The caller closes the descriptors."""
    received = _receive(sock)
    if received is None:
        raise LabError("the lab's sandbox has ended")
    return _decode(_replies, *received)


def _decode(decoder: msgspec.json.Decoder[_T], data: bytes, fds: tuple[int, ...]) -> tuple[_T, tuple[int, ...]]:
    try:
        return decoder.decode(data), fds
    except msgspec.MsgspecError:
        for fd in fds:
            os.close(fd)
        raise


def _send_packet(sock: socket.socket, data: bytes, fds: tuple[int, ...]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], ancillary)


def _receive(sock: socket.socket) -> tuple[bytes, tuple[int, ...]] | None:
    try:
        data, fds, _, _ = socket.recv_fds(sock, _PACKET_LIMIT + 1, _MAX_FDS)
    except ConnectionResetError:
        return None
    if not data:
        return None
    for fd in fds:
        os.set_inheritable(fd, False)
    if data[:1] == b"J":
        return data[1:], tuple(fds)
    spill, *rest = fds
    with os.fdopen(spill, "rb") as file:
        file.seek(0)
        return file.read(), tuple(rest)
