"""The programs and tests that docs/ and README.md show do what they say. tests/book_blocks.py tells the marks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

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
# What became of each test, by the page that it stands in, and all that pytest said.
Outcomes = tuple[dict[str, Counter[str]], str]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """One pytest for the tests of all pages, a module each: it takes longer to start than to test."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "pytest.ini").write_text("[pytest]\n")
    for page, module, _ in MODULES:
        (folder / f"{module_name(page)}.py").write_text(module)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={folder}/tmp", "--junitxml=report"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    found: dict[str, Counter[str]] = {page: Counter() for page, *_ in MODULES}
    pages = {module_name(page): page for page in found}
    for case in ElementTree.parse(folder / "report").iter("testcase"):
        verdicts = {"failure": "failed", "error": "failed", "skipped": "skipped"}
        verdict = next((verdicts[child.tag] for child in case if child.tag in verdicts), "passed")
        found[pages[case.attrib["classname"]]][verdict] += 1
    return found, done.stdout


def module_name(page: str) -> str:
    return "test_" + re.sub(r"\W", "_", page)


@pytest.mark.parametrize(("page", "module", "expected"), MODULES, ids=[page for page, *_ in MODULES])
def test_the_tests_of_a_page_do_what_it_says(page: str, module: str, expected: str, outcomes: Outcomes) -> None:
    found, said = outcomes
    if expected:
        assert {verdict: int(count) for count, verdict in re.findall(r"(\d+) (\w+)", expected)} == found[page], said
        return
    written = len(re.findall(r"^(?:async )?def test_", module, re.MULTILINE))
    assert found[page].keys() == {"passed"}, said
    assert found[page]["passed"] >= written
