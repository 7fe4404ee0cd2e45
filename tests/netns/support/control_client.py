"""A client of the control protocol that adds nothing, for what runs inside of `patchbay exec`."""

from __future__ import annotations

import json
import os
import socket
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 60.0


class Refused(Exception):
    def __init__(self, error: dict[str, Any]) -> None:
        self.kind = error["kind"]
        self.error = error
        super().__init__(f"{error['kind']}: {error['message']}")


class Control:
    """One connection. Replies are found by their number, in whatever order they come."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(os.environ["PATCHBAY_CONTROL"])
        self._buffer = b""
        self._replies: dict[Any, dict[str, Any]] = {}
        self._number = 0

    def send(self, method: str, **params: Any) -> int:
        self._number += 1
        self.raw(json.dumps({"id": self._number, "method": method, "params": params}).encode() + b"\n")
        return self._number

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self, number: Any) -> Any:
        while number not in self._replies:
            line = self.line()
            self._replies[line["id"]] = line
        found = self._replies.pop(number)
        if "error" in found:
            raise Refused(found["error"])
        return found["result"]

    def line(self) -> dict[str, Any]:
        while b"\n" not in self._buffer:
            data = self.socket.recv(1 << 20)
            assert data, "the connection was closed"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, method: str, **params: Any) -> Any:
        return self.reply(self.send(method, **params))

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
