"""The site generator, as the process that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def zensical(project: Path, *arguments: str, is_shown: bool = False) -> subprocess.CompletedProcess[str]:
    """Runs the program beside this interpreter in a project; what it says is kept, unless it is to be shown."""
    program = Path(sys.executable).with_name("zensical")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # it imports book.slugs, and reads patchbay's docstrings
    return subprocess.run(
        [program, *arguments], cwd=project, env=environment, capture_output=not is_shown, text=True, check=False
    )
