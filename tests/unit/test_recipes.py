"""What recipes tell readers to look at is there: every step and capture that a recipe names is one of its sim."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from patchbay_runner.loader import load

CHECKOUT = Path(__file__).parents[2]
PATTERNS = {path.stem for path in (CHECKOUT / "sims" / "patterns").glob("*.toml")}
OF_EVERY_PROGRAM = {"exit_code", "elapsed_s"}


def recipes() -> dict[str, str]:
    """The section of each pattern that has one, by the name of its sim."""
    found = {}
    for page in sorted((CHECKOUT / "docs" / "recipes").glob("*.md")):
        for section in page.read_text(encoding="utf-8").split("\n## ")[1:]:
            sim = re.search(r"^\[([\w-]+)\]\(\.\./\.\./sims/patterns/", section, re.MULTILINE)
            if sim is not None:
                found[sim[1]] = section
    return found


def test_every_pattern_has_its_recipe() -> None:
    assert set(recipes()) == PATTERNS


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_a_recipe_says_what_to_look_at_and_what_goes_red(pattern: str) -> None:
    section = recipes()[pattern]
    assert re.search(r"^- \*Your [\w ]+ goes red\* when ", section, re.MULTILINE)
    plans = load([f"sims/patterns/{pattern}.toml"], cwd=CHECKOUT).plans
    captures: defaultdict[str, set[str]] = defaultdict(set)
    for step in (step for plan in plans for step in plan.steps):
        captures[step.id] |= {capture.name for capture in getattr(step, "captures", ())}
    look = re.search(r"^- \*Look at\*(.*?)(?=^- )", section, re.MULTILINE | re.DOTALL)
    assert look is not None
    named = re.findall(r"`([\w.-]+)`", look[1])
    assert named
    for name in named:
        step_id, _, capture = name.partition(".")
        if capture:
            assert capture in captures[step_id] | OF_EVERY_PROGRAM, name
        else:
            assert name in captures or any(name in of_step for of_step in captures.values()), name
