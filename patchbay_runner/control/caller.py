"""A client of a control socket: one request after another."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec

from patchbay_runner.errors import LabError

_CHUNK_BYTES = 256 * 1024
_MOST_FDS = 16


class Answered(Exception):
    """An error that a request was answered with. `kind` as in the reference of the protocol."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class Caller:
    """A connection to a control socket. Raises LabError when nobody listens there."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise LabError(f"the control socket {path}: {error.strerror or error}") from error

    def ask(self, method: str, params: Mapping[str, Any]) -> tuple[Any, list[int]]:
        """The result of a request, and the descriptors beside it. Raises Answered, LabError."""
        request = {"id": method.replace("_", "-"), "method": method, "params": params}
        try:
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
            line, fds = self._reply()
        except OSError as error:
            raise LabError(f"the control socket: {error.strerror}") from error
        reply = msgspec.json.decode(line)
        if "error" in reply:
            raise Answered(reply["error"]["kind"], reply["error"]["message"])
        return reply["result"], fds

    def _reply(self) -> tuple[bytes, list[int]]:
        line, fds = bytearray(), []
        while not line.endswith(b"\n"):
            data, received, _, _ = socket.recv_fds(self._socket, _CHUNK_BYTES, _MOST_FDS)
            if not data:
                raise LabError("the control socket was closed without an answer")
            line += data
            fds += received
        for fd in fds:
            os.set_inheritable(fd, False)
        return bytes(line), fds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
