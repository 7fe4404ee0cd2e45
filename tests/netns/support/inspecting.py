"""Networks that are up, and programs in them from other shells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.netns.support.running import Project

PATCHBAY = [sys.executable, "-m", "patchbay_runner"]
# Where the `patchbay` of this environment is.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a project and their own list of networks."""

    project: Project
    runtime: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of their shells. What they start is found by the project's marker."""
        marker = {"PATCHBAY_TEST_MARKER": self.project.marker}
        return {**os.environ, **marker, "XDG_RUNTIME_DIR": str(self.runtime), "PATH": PATH}

    @property
    def listed(self) -> list[str]:
        """The files of their list of networks."""
        return sorted(path.name for path in (self.runtime / "patchbay").glob("*"))

    def popen(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """`patchbay ARGUMENTS`, in the background."""
        command = [*PATCHBAY, *map(str, arguments)]
        return subprocess.Popen(command, **{"cwd": self.project.root, "env": self.environment, **options})

    def patchbay(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        """`patchbay ARGUMENTS` to its end."""
        command = [*PATCHBAY, *map(str, arguments)]
        usual = {"cwd": self.project.root, "env": self.environment, "timeout": 60}
        return subprocess.run(command, capture_output=True, text=True, check=False, **{**usual, **options})

    def run_in(self, node: str, *program: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`patchbay run-in NODE -- PROGRAM` to its end."""
        return self.patchbay("run-in", node, "--", *program, **options)

    def inspect(self, *arguments: str | Path) -> tuple[subprocess.Popen[str], dict[str, Any]]:
        """An inspect whose network is up, and what it says of itself."""
        process = self.popen("inspect", *arguments, "--json", stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    @contextmanager
    def inspecting(self, *arguments: str | Path) -> Iterator[dict[str, Any]]:
        """The same for a while."""
        process, told = self.inspect(*arguments)
        with process:
            try:
                yield told
            finally:
                process.terminate()
                assert process.wait(30) == 0
