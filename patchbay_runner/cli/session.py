"""What a command leaves for the boundary that reports its errors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class TracebackKeeper(Protocol):
    """A place for the traceback of a defect."""

    def save_traceback(self, text: str) -> Path:
        """Returns the file that was written."""


@dataclass(slots=True)
class Session:
    """One command line. `run_directory` is there once a run has one."""

    run_directory: TracebackKeeper | None = None

    def save_traceback(self, text: str) -> Path | None:
        """Keeps a traceback where the run's results are; None when there is no such place yet."""
        return self.run_directory.save_traceback(text) if self.run_directory else None
