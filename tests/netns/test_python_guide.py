"""The programs of docs/guide/python.md do what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


def programs(checkout: Path = Path(__file__).parents[2]) -> list[str]:
    text = (checkout / "docs/guide/python.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(programs())))
def test_a_program_of_the_guide(number: int, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    first = programs()[0].splitlines()[0]
    program.write_text(programs()[number] if number == 0 else f"{first}\n{programs()[number]}")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr
