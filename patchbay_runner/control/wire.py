"""Lines of JSON over a stream socket: requests come in, replies go out, descriptors beside them."""

from __future__ import annotations

import array
import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from patchbay_runner.errors import InputError, LabError, PatchbayError

PROTOCOL = 1
# Where programs find the path of the socket.
VARIABLE = "PATCHBAY_CONTROL"
# The lab that all clients can use.
SHARED = "shared"
# A line holds a program's whole input or output.
LINE_LIMIT_BYTES = 16 << 20
_CHUNK_BYTES = 256 * 1024

Id = int | float | str | None


class Refusal(Exception):
    """A request that cannot be met for a reason of the protocol's own; `details` are further fields of the error."""

    def __init__(self, kind: str, message: str, **details: Any) -> None:
        self.kind = kind
        self.details = details
        super().__init__(message)


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a line asks for. The reply carries the same `id`."""

    method: str
    id: Id = None
    params: dict[str, Any] | None = None


class _Numbered(msgspec.Struct, frozen=True):
    id: Id = None


# The last one is for what is nested deeper than anybody means.
_MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_REQUEST = msgspec.json.Decoder(Request)
_NUMBERED = msgspec.json.Decoder(_Numbered)


def read_request(line: bytes) -> Request:
    """Raises Refusal."""
    try:
        return _REQUEST.decode(line)
    except _MALFORMED as error:
        raise bad_request(f"not a request: {error}") from error


def id_of(line: bytes) -> Id:
    """The number of a line that is no request otherwise, as far as there is one."""
    try:
        return _NUMBERED.decode(line).id
    except _MALFORMED:
        return None


def bad_request(message: str) -> Refusal:
    """The request itself is wrong."""
    return Refusal("BadRequest", message)


def result_line(number: Id, result: object) -> bytes:
    return _line({"id": number, "result": result})


def error_line(number: Id, error: Exception) -> bytes:
    """`kind` is the class of `errors.py`, "OSError", or one of the protocol's own."""
    return _line({"id": number, "error": error_fields(error)})


def error_fields(error: Exception) -> dict[str, Any]:
    fields: dict[str, Any] = {"kind": type(error).__name__, "message": str(error)}
    match error:
        case Refusal(kind=kind, details=details):
            return {**fields, "kind": kind, **details}
        case InputError(diagnostics=diagnostics):
            return {**fields, "diagnostics": [msgspec.to_builtins(each) for each in diagnostics]}
        case LabError(node=node):
            return {**fields, "node": node} if node else fields
        case PatchbayError():
            return fields
        case OSError():
            return {**fields, "kind": "OSError"}
    # A defect of ours is one client's bad luck, not everybody's end.
    message = f"{fields['kind']}: {fields['message']}"
    return {"kind": "Defect", "message": message, "traceback": "".join(traceback.format_exception(error))}


def _line(message: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(message) + b"\n"


async def lines(connection: socket.socket) -> AsyncIterator[bytes | None]:
    """The lines that come, without their ends and empty ones; None for one that is too long. Ends with the stream.

    What stands behind the last newline is a line as well, since not every program ends its lines.
    """
    loop = asyncio.get_running_loop()
    pending, is_too_long = bytearray(), False
    while chunk := await _received(loop, connection):
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            if not is_too_long and len(pending) + len(piece) <= LINE_LIMIT_BYTES:
                line = bytes(pending + piece).strip()
                if line:
                    yield line
            else:
                yield None
            pending.clear()
            is_too_long = False
        pending += pieces[-1]
        if len(pending) > LINE_LIMIT_BYTES:
            pending.clear()
            is_too_long = True
    if is_too_long:
        yield None
    elif line := bytes(pending).strip():
        yield line


async def _received(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(connection, _CHUNK_BYTES)
    except ConnectionResetError:
        return b""


async def send(connection: socket.socket, line: bytes, fds: Sequence[int] = ()) -> None:
    """Sends a line whole, descriptors beside its first byte. Raises OSError when nobody is there to take it."""
    loop = asyncio.get_running_loop()
    sent = 0
    if fds:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sent = await _send_first(connection, line, rights)
    await loop.sock_sendall(connection, memoryview(line)[sent:])


async def _send_first(connection: socket.socket, line: bytes, rights: list[tuple[int, int, array.array[int]]]) -> int:
    while True:
        try:
            return connection.sendmsg([line], rights, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            await _writable(connection)


async def _writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(connection, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(connection)
