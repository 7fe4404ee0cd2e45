"""The flag that rewrites what the golden tests expect."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-golden",
        action="store_true",
        help="writes what is found as what is expected (pytest tests/golden --regenerate-golden); read the difference",
    )


@pytest.fixture
def is_regenerating(request: pytest.FixtureRequest) -> bool:
    """Whether to write instead of compare; the flag is known only when pytest is given this directory."""
    return bool(request.config.getoption("--regenerate-golden", default=False))
