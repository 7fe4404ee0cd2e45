"""How durations, paths and the output of programs are shown to people."""

from __future__ import annotations

import re
from pathlib import Path

# Escape sequences (ECMA-48) and other control characters could move the cursor or change the terminal's state.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def elapsed(seconds: float) -> str:
    """A duration to read: "420 ms", "4.2 s", "2 min 05 s"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def shown_path(path: Path) -> str:
    """Relative to the working directory where it is below it."""
    working_directory = Path.cwd()
    return str(path.relative_to(working_directory)) if path.is_relative_to(working_directory) else str(path)


def printable(text: str) -> str:
    """`text` without what a terminal would act on."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text)).expandtabs()


def counted(number: int, noun: str) -> str:
    """ "1 step", "2 steps"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def megabytes(size: int) -> str:
    """A number of bytes to read: "12 B", "3.4 kB", "12.0 MB"."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
