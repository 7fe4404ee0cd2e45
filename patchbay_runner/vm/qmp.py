"""QEMU's control socket (QEMU documentation, "QEMU Machine Protocol Specification")."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Self

from patchbay_runner.errors import HostError

_TIMEOUT_S = 10.0


class Qmp:
    """One conversation. QEMU has one at a time: others wait until it is closed."""

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        """Raises OSError when nobody answers in time."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
            self._lines = self._socket.makefile("rb")
            self._read()
            self.ask("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: object) -> Any:
        """The answer to a command. Raises HostError for one that is refused and OSError when QEMU is gone."""
        message = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise HostError(f"QEMU refused {command}: {answer['error'].get('desc')}")
            # Events come in between.

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise ConnectionResetError("QEMU closed its control socket")
        found: dict[str, Any] = json.loads(line)
        return found


def status(path: Path) -> str:
    """What the machine does, as QEMU calls it: "running", "paused", "io-error", …; "" when nobody answers."""
    try:
        with Qmp(path) as qmp:
            return str(qmp.ask("query-status")["status"])
    except OSError:
        return ""
