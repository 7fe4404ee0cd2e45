"""The reference of the control protocol says what the code does; the guide shows what the tests run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from patchbay_runner.control.handlers import HANDLERS
from patchbay_runner.control.methods import METHODS
from patchbay_runner.control.reference import methods_reference

if TYPE_CHECKING:
    import pytest

_BETWEEN = re.compile(
    r"(?<=<!-- methods: made by patchbay_runner/control/reference.py -->\n)(.*?)(?=<!-- end -->)", re.S
)


def test_the_reference_is_that_of_the_code(checkout: Path, request: pytest.FixtureRequest) -> None:
    page = checkout / "docs" / "reference" / "control-protocol.md"
    expected = _BETWEEN.sub(lambda _: f"\n{methods_reference()}\n", page.read_text())
    if request.config.getoption("--regenerate-golden", default=False):
        page.write_text(expected)
    assert page.read_text() == expected, "pytest tests/golden tests/unit/test_control_reference.py --regenerate-golden"


def test_every_method_is_carried_out_by_one_place() -> None:
    elsewhere = {method.name for method in METHODS.values() if method.on_network is None}
    assert elsewhere == set(HANDLERS)


def test_the_guide_shows_what_the_tests_of_other_languages_run(checkout: Path) -> None:
    guide = (checkout / "docs" / "guide" / "other-languages.md").read_text()
    files = [path for path in (checkout / "tests" / "netns" / "languages").rglob("*") if path.is_file()]
    lines = {line.strip() for path in files for line in path.read_text().splitlines()}
    shown = re.findall(r"^```(?:rust|go|js|sh)\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(shown) == 6
    assert [line for block in shown for line in block.splitlines() if line.strip() not in lines] == []
