"""A guest that is this machine: what the virtual machine's commands do with one, without one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class LocalGuest:
    """Its home is a directory of its own; what `run` is asked for is kept and, with `program`, done."""

    home: Path
    shares: Mapping[Path, str] = field(default_factory=dict)
    ran: list[dict[str, Any]] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)
    exit_code: int = 0

    def inside(self, path: Path) -> str | None:
        for here, there in self.shares.items():
            if path.is_relative_to(here):
                return str(Path(there) / path.relative_to(here))
        return None

    def output(self, argv: Sequence[str]) -> str:
        self.asked.append(list(argv))
        environment = {**os.environ, "HOME": str(self.home)}
        return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout

    def copy_in(self, source: Path, directory: str) -> None:
        place = Path(directory) / source.name
        if source.is_dir():
            shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, place)

    def run(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: str, tty: bool) -> int:
        self.ran.append({"argv": list(argv), "env": dict(env), "cwd": cwd, "tty": tty})
        return self.exit_code
