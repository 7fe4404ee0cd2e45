"""What runs inside the sandbox of `patchbay exec`: the control socket, from before the command to its end."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from contextlib import suppress
from typing import cast, get_args

import msgspec

from patchbay_runner.control import connection, netns
from patchbay_runner.control.labs import LabDefaults, Labs
from patchbay_runner.control.wire import VARIABLE
from patchbay_runner.kernel import netlink
from patchbay_runner.kernel.entering import Place
from patchbay_runner.kernel.mounts import SHARED_DIRECTORY, share_no_more
from patchbay_runner.kernel.namespaces import own_namespace
from patchbay_runner.kernel.netlink import NetlinkSocket
from patchbay_runner.kernel.sandbox import SandboxContext, Zygote
from patchbay_runner.lab import commands
from patchbay_runner.library import keeper
from patchbay_runner.library.recorded import serve_recorded
from patchbay_runner.results.lab_record import Outcome

# Programs of nodes find it too.
CONTROL_SOCKET = SHARED_DIRECTORY / "control"
_BACKLOG = 1024
_PAUSE_S = 0.1


def serve_control(context: SandboxContext) -> int:
    """A sandbox entry. The payload is LabDefaults.

    When the socket listens, the message `Entered` goes out on the control channel, with the namespaces of a `Place`;
    an `Outcome` or the end of the channel makes an end.
    """
    defaults = msgspec.json.decode(context.payload, type=LabDefaults)
    share_no_more()
    os.environ[VARIABLE] = str(CONTROL_SOCKET)  # for programs of nodes
    keeper.adopt(_zygote(context.open_files))
    with NetlinkSocket() as rtnetlink:
        rtnetlink.request(netlink.set_up(netlink.LOOPBACK_IFINDEX))
    netns.prepare()
    listener = _listen()
    place = Place(*(own_namespace(kind) for kind in ("user", "pid", "ipc", "uts", "net", "mnt")))
    fds = msgspec.structs.astuple(place)
    commands.send_message(context.control, commands.Entered({VARIABLE: str(CONTROL_SOCKET)}), fds)
    for fd in fds:
        os.close(fd)
    asyncio.run(_serve(listener, Labs(defaults), context.control))
    return 0


def _zygote(open_files: tuple[int, int]) -> Zygote:
    """Where labs come from. Their programs get the limit of open files that the caller had, not our own."""
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_files[0], own[1]), own[1]))
    try:
        return Zygote.start({keeper.LAB_ENTRY: serve_recorded})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, own)


def _listen() -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(CONTROL_SOCKET))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


async def _serve(listener: socket.socket, labs: Labs, control: socket.socket) -> None:
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    accepting = asyncio.create_task(_accept(listener, labs))
    try:
        said = (await loop.sock_recv(control, 64)).decode()
    finally:
        accepting.cancel()
    outcome = cast("Outcome", said) if said in get_args(Outcome) else "stopped"
    await labs.close_all(outcome)


async def _accept(listener: socket.socket, labs: Labs) -> None:
    loop = asyncio.get_running_loop()
    serving: set[asyncio.Task[None]] = set()
    while True:
        try:
            accepted, _ = await loop.sock_accept(listener)
        except OSError:  # we have no descriptor to spare just now, or the client has gone already
            await asyncio.sleep(_PAUSE_S)
            continue
        task = asyncio.create_task(_serve_one(accepted, labs))
        serving.add(task)
        task.add_done_callback(serving.discard)


async def _serve_one(accepted: socket.socket, labs: Labs) -> None:
    with suppress(OSError):  # a connection may break, which is nobody else's concern
        await connection.serve(accepted, labs)
