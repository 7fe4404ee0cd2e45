"""Whether everything in a run directory can be read, whatever ended the run."""

from __future__ import annotations

import json
from pathlib import Path


def assert_readable(directory: Path) -> None:
    """Every document parses, every event but a torn last one does too, reports and certificates are whole, logs text.

    What is hidden is a document that was being written beside its place, or the lock.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_dir() or path.is_symlink() or path.name.startswith("."):
            continue
        content = path.read_bytes()
        try:
            _check(path.suffix, content)
        except ValueError as error:
            raise AssertionError(f"{path} cannot be read: {error}: …{content[-200:]!r}") from error


def _check(suffix: str, content: bytes) -> None:
    match suffix:
        case ".json":
            json.loads(content)
        case ".jsonl":
            for line in content.split(b"\n")[:-1]:
                json.loads(line)
        case ".md" | ".pem" | ".txt":
            if not content.decode().endswith("\n"):
                raise ValueError("it is cut")
        case _:
            content.decode()
