"""What the tests of binaries share: a display that remembers, and small sources."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from patchbay_runner.binaries import Options, resolve
from patchbay_runner.binaries.overrides import parse_override
from patchbay_runner.binaries.progress import Cancellation, Task
from patchbay_runner.model.plan import Plan


class Told:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.starts: list[str] = []
        self.ends: list[str] = []
        self.notes: list[str] = []
        self.lines: list[str] = []

    def started(self, task: str, text: str, total: int | None, done: int) -> None:
        self.starts.append(f"{task}: {text} {done}/{total}")

    def advanced(self, task: str, done: int) -> None:
        pass

    def said(self, task: str, line: str) -> None:
        self.lines.append(line)

    def ended(self, task: str, text: str) -> None:
        self.ends.append(f"{task}: {text}")

    def note(self, text: str) -> None:
        self.notes.append(text)


def task(told: Told | None = None, cancelled: Cancellation | None = None) -> Task:
    return Task("tool", told or Told(), cancelled or Cancellation())


def resolve_plans(
    plans: Sequence[Plan],
    root: Path,
    *overrides: str,
    may_build: bool = True,
    told: Told | None = None,
    **environment: str,
) -> list[dict[str, str]]:
    options = Options(
        project_root=root,
        environment={"XDG_CACHE_HOME": str(root / "cache"), "HOME": str(root), **environment},
        cwd=root,
        overrides=tuple(map(parse_override, overrides)),
        declared=frozenset(binary.name for plan in plans for binary in plan.binaries),
        may_build=may_build,
    )
    return resolve(plans, options, told or Told())


def git(directory: Path, *arguments: str) -> str:
    """Runs git, whatever the user has configured."""
    identity = {f"GIT_{role}_{key}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    return subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit_all(directory: Path, message: str = "change") -> str:
    """Commits everything and returns the hash."""
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", message)
    return git(directory, "rev-parse", "HEAD")
