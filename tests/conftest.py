"""What every suite shares: where the checkout is, the netns marker, and Hypothesis without a stopwatch."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

_IS_CI = bool(os.environ.get("CI"))
# Commands under test do the same wherever the tests run: they do not draw less because CI started the suite, and what
# they print is not the result of the CI step.
for _name in ("CI", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "NO_COLOR", "FORCE_COLOR"):
    os.environ.pop(_name, None)

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup's way to be deaf would be inherited by all that tests start

CHECKOUT = Path(__file__).parent.parent

# A deadline measures how busy the machine is. In CI the examples are fixed, so that a red run can be repeated.
settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if _IS_CI else "local")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test below tests/netns, so that `-m "not netns"` needs no privileges."""
    for item in items:
        if item.path.is_relative_to(CHECKOUT / "tests" / "netns"):
            item.add_marker("netns")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT
