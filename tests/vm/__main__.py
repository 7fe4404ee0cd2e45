"""`python -m tests.vm [PYTEST ARGUMENTS]`: the tests that are about the kernel's own engine, on Debian's kernel."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from patchbay_runner.errors import PatchbayError
from tests.vm.machine import run_in_guest

_SYSTEM = Path(".vm")
_TESTS = ("tests/vm", "tests/netns/test_link_engine.py")
_TIMEOUT_S = 900.0


def main(arguments: list[str]) -> int:
    """Exit code: pytest's, or 1 with a line on standard error when there was no verdict."""
    if platform.machine() != "x86_64":
        print(f"make test-vm emulates an x86-64 around the host's programs, and this is {platform.machine()}")
        return 1
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(arguments or _TESTS)]
    try:
        return run_in_guest(_SYSTEM.absolute(), pytest, _environment(), _TIMEOUT_S)
    except PatchbayError as error:
        print(error, file=sys.stderr)
        return 1


def _environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATCHBAY_TEST_LINK_ENGINE": "netem",
        "PATCHBAY_TEST_EMULATED_PROCESSOR": "1",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
