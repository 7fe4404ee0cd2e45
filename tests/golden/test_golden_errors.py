"""Wrong input, and the exact messages about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.loader import load
from tests.golden.cases import Case, cases_in, compare

ERRORS = Path(__file__).parent / "errors"


@pytest.mark.parametrize("case", cases_in(ERRORS), ids=lambda case: case.name)
def test_wrong_input_is_explained(case: Case, is_regenerating: bool) -> None:
    with pytest.raises(InputError) as raised:
        load(case.inputs, cwd=case.cwd)
    compare(f"{raised.value}\n", case.expected, is_regenerating=is_regenerating)


def test_every_expectation_has_its_case() -> None:
    expected = {path.stem for path in ERRORS.glob("*.expected")}
    assert expected == {case.name for case in cases_in(ERRORS)}
    assert len(expected) >= 60
