"""The command `patchbay-serve`, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.unit.push_server import KEY

_SCRIPT = "import sys; from patchbay_runner.__main__ import serve; sys.argv[0] = 'patchbay-serve'; serve()"


@dataclass(slots=True)
class ServeCommand:
    """A server that has told where it is."""

    process: subprocess.Popen[str]
    address: str
    log: Path

    @property
    def url(self) -> str:
        return self.address.removesuffix("/runs")

    def push(self, body: bytes, project: str = "web") -> httpx.Response:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.post(f"{self.url}/api/push/{project}", content=body, headers=headers, timeout=60)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def serve_command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", _SCRIPT, *map(str, arguments)]


@contextmanager
def serving(directory: Path, *arguments: str | Path, launcher: list[str] | None = None) -> Iterator[ServeCommand]:
    """patchbay-serve with its data in `directory`, on free ports of loopback."""
    directory.mkdir(exist_ok=True)
    ports = ("--http-bind", "127.0.0.1:0") if "--http-bind" not in arguments else ()
    command = [*(launcher or []), *serve_command("--data-dir", directory, *ports, *arguments)]
    log = directory / "test.log"
    environment = os.environ | {"PATCHBAY_API_KEY": KEY, "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield ServeCommand(process, line.split()[3].rstrip(","), log)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
