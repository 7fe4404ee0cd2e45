"""The programs and tests that docs/ and README.md show do what they say. tests/book_blocks.py tells the marks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from tests.book_blocks import Block, checked

PYTHON = checked("python")
TESTS = [block for block in PYTHON if re.search(r"^(async )?def test_", block.text, re.MULTILINE)]
PROGRAMS = [block for block in PYTHON if block not in TESTS]
# What every program of the guide begins with, and the guide says once.
IMPORT = "from patchbay_runner import Lab\n"


def pages_of_tests() -> Iterator[tuple[str, str, str]]:
    """Pages with tests, all of those of a page as one module, and what becomes of them when not all pass."""
    for page, group in groupby(TESTS, lambda block: block.page):
        blocks = list(group)
        expected = [mark.argument for block in blocks for mark in block.of("expects:")]
        yield page, "\n\n".join(block.whole for block in blocks), "".join(expected)


@pytest.mark.parametrize("block", PROGRAMS, ids=[block.name for block in PROGRAMS])
def test_a_program_does_what_the_page_says(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.whole if IMPORT in block.whole else IMPORT + block.whole)
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


OUTPUTS = [block for block in checked("") if block.of("output of")]
# What no two runs have in common.
VARYING = re.compile(r" +[\d.]+ m?s$|[\d.]+ m?s(?= )|sim-[\d-]+", re.MULTILINE)


@pytest.mark.parametrize("block", OUTPUTS, ids=[block.name for block in OUTPUTS])
def test_a_sim_prints_what_the_page_shows(block: Block, tmp_path: Path) -> None:
    sim = [before for before in checked("toml") if before.page == block.page and before.line < block.line][-1]
    (mark,) = block.of("output of")
    (tmp_path / mark.file).write_text(sim.whole)
    prompt, _, shown = block.text.partition("\n")
    command = prompt.removeprefix("$ ").replace(".venv/bin/", "").split()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("[")]  # those of progress
    assert VARYING.sub("", "\n".join(lines).strip()) == VARYING.sub("", shown.strip())


MODULES = list(pages_of_tests())


@pytest.mark.parametrize(("page", "module", "expected"), MODULES, ids=[page for page, *_ in MODULES])
def test_the_tests_of_a_page_do_what_it_says(page: str, module: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_page.py").write_text(module)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    if expected:
        assert re.search(rf"=+ {expected} in ", done.stdout), done.stdout
        return
    assert done.returncode == 0, f"{page}: {done.stdout}{done.stderr}"
    written = len(re.findall(r"^(?:async )?def test_", module, re.MULTILINE))
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= written
