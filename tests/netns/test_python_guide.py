"""The programs and tests that the guide shows do what it says."""

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


def test_the_tests_of_the_guide_pass(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/guide/testing.md").read_text(encoding="utf-8")
    written = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_guide.py").write_text("\n\n".join(written))
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "8 passed" in done.stdout, done.stdout
