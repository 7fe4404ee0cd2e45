"""Runs the `patchbay` command as a user does, and looks at what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MARKER = "PATCHBAY_TEST_MARKER"

HOME_AND_SERVER = """
[[router]]
name = "dc"
[[router]]
name = "home"
nat = "home"
[device.server.eth0]
gateway = "dc"
[device.client.eth0]
gateway = "home"
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A directory with sims. Every program that a run starts carries its marker."""

    root: Path
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)

    def sim(self, name: str, steps: str, topology: str = HOME_AND_SERVER) -> Path:
        """Writes `name`.toml and returns its path."""
        path = self.root / f"{name}.toml"
        path.write_text(f'[sim]\nname = "{name}"\n{topology}\n{steps}\n')
        return path

    def start(self, *arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
        """`patchbay run ARGUMENTS`, in the background."""
        return subprocess.Popen(
            [sys.executable, "-m", "patchbay_runner", "run", *map(str, arguments)],
            cwd=self.root,
            env={**os.environ, _MARKER: self.marker, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """`patchbay run ARGUMENTS` to its end."""
        process = self.start(*arguments, **environment)
        return finish(process)

    @property
    def latest(self) -> Path:
        """The directory of the latest run."""
        return self.root / ".patchbay-work" / "latest"

    def read(self, relative: str) -> Any:
        """A document of the latest run."""
        return json.loads((self.latest / relative).read_bytes())

    def events(self, sim: str) -> list[dict[str, Any]]:
        """The whole lines of a sim's events; the last one may be torn."""
        lines = (self.latest / sim / "events.jsonl").read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]

    def has_event(self, sim: str, kind: str) -> Callable[[], bool]:
        """Whether the latest run has got that far."""

        def look() -> bool:
            path = self.latest / sim / "events.jsonl"
            return path.exists() and any(event["kind"] == kind for event in self.events(sim))

        return look

    def processes(self) -> dict[int, str]:
        """What runs with the marker, by pid: its pid in its innermost namespace, and its name."""
        return {pid: f"{status['NSpid'].split()[-1]} {status['Name']}" for pid, status in self._statuses().items()}

    def sandbox(self, command: int) -> dict[str, int]:
        """The processes that carry the one sandbox of the running `command`, as far as they are there, by role."""
        roles = {"parent": command}
        statuses = self._statuses()
        for role, below in (("zygote", "parent"), ("outer", "zygote"), ("init", "outer"), ("agent", "init")):
            for pid, status in statuses.items():
                is_adopted = role == "agent" and status["NSpid"].split()[-1] != "2"
                if int(status["PPid"]) == roles.get(below) and not is_adopted:
                    roles[role] = pid
        return roles

    def emulators(self, command: int) -> list[int]:
        """The processes that emulate links in the one sandbox of the running `command`."""
        agent = self.sandbox(command)["agent"]
        statuses = self._statuses()
        is_fork = {pid: status["Name"] == statuses[agent]["Name"] for pid, status in statuses.items()}
        return [pid for pid, status in statuses.items() if int(status["PPid"]) == agent and is_fork[pid]]

    def _statuses(self) -> dict[int, dict[str, str]]:
        wanted = f"{_MARKER}={self.marker}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    lines = (path / "status").read_text().splitlines()
                    found[int(path.name)] = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue  # it ended meanwhile, or is another user's
        return found


def finish(process: subprocess.Popen[str], timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Waits for the end and gives what was printed."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
