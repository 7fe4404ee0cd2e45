"""Who follows "Getting started" word for word gets what it says: its own blocks are run, in their order.

What installs packages, and what opens a browser, is left to those who have a machine to spare.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "getting-started.md"
COMMANDS = Path(sys.executable).parent
OVERLOADED = 5
ATTEMPTS = 3

pytestmark = pytest.mark.alone


def blocks(language: str) -> list[str]:
    written = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [block for marked, block in written if marked == language]


def commands(beginning: str) -> str:
    """The one block of the page that begins so."""
    (block,) = [block for block in blocks("sh") if block.startswith(beginning)]
    return block


class Newcomer:
    """Somebody with a shell, in an empty directory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._environment = os.environ | {"PATH": f"{COMMANDS}:{os.environ['PATH']}", "CI": ""}

    def says(self, block: str, exit_code: int = 0) -> str:
        """What the commands print. A host too busy for a sim's link is not their fault: they are tried again."""
        for _ in range(ATTEMPTS):
            done = subprocess.run(
                ["sh", "-c", block],
                cwd=self.place,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            if done.returncode != OVERLOADED:
                break
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def edits(self, name: str, old: str, new: str) -> None:
        path = self.place / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


def shown(beginning: str) -> list[str]:
    """The lines of the one output on the page that begins so, without those that stand for others."""
    (block,) = [block for block in blocks("") if block.startswith(beginning)]
    return [line.partition("…")[0].strip() for line in block.splitlines() if line.strip() != "…"]


def test_a_sim_passes_fails_and_tells_why(newcomer: Newcomer) -> None:
    newcomer.says("patchbay doctor")
    beginning, _, run = commands("patchbay init hello").partition("patchbay run")
    newcomer.says(beginning)
    newcomer.place /= "hello"
    passed = newcomer.says(f"patchbay run{run}")
    assert re.search(r"^first +passed +5 ", passed, re.MULTILINE)

    newcomer.edits("sims/first.toml", "timeout=5", "timeout=1")  # nobody has to wait for what is lost
    failed = newcomer.says(commands("sed -i"), exit_code=1)
    for line in shown("first failed"):
        assert re.sub(r"sim-[0-9-]+", "sim-", line) in re.sub(r"sim-[0-9-]+", "sim-", failed)
    rules = newcomer.says(commands("grep counter"))
    dropped = re.search(r"tcp dport != \{ 80, 443 \} counter packets (\d+) ", rules)
    assert dropped is not None, rules
    assert int(dropped[1]) > 0
    assert re.sub(r"\d+", "", "\n".join(shown("iifname"))) == re.sub(r"\d+|\t", "", rules.strip())

    newcomer.edits("topos/home-and-server.toml", '"corporate"', '"coporate"')
    told = newcomer.says("patchbay run sims/", exit_code=2)
    assert all(line in told for line in shown("topos/"))


def test_the_test_passes_at_home_and_fails_in_the_office(newcomer: Newcomer) -> None:
    (program,) = blocks("python")
    (newcomer.place / "pytest.ini").write_text("[pytest]\n")
    (newcomer.place / "test_office.py").write_text(program)
    # The checkout's environment may be a copy, whose scripts other than `patchbay` lead elsewhere.
    told = newcomer.says(f"{sys.executable} -m {commands('pytest ')}", exit_code=1)
    assert "1 failed, 1 passed" in told
    for line in shown(">   ")[1:]:
        assert line in told
    assert "patchbay serve " in told
    assert "sockets.py" not in told, "the lines of the test are shown, not ours"
