"""The tests of links, on the kernel of a virtual machine, which has what this one may lack: sch_netem."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.conftest import VM

pytestmark = pytest.mark.timeout(1200)
_CHECKOUT = Path(__file__).resolve().parents[2]
_NAME = "patchbay-netem"
_TESTS = ("tests/netem", "tests/netns/test_link_engine.py")
# What tests of links import; the others need far more.
_NEEDS = ("pytest-timeout", "hypothesis", "pyroute2")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([VM, *arguments], cwd=_CHECKOUT, text=True, capture_output=True, timeout=1100, check=False)


@pytest.fixture
def machine(images: Path) -> Iterator[str]:
    """The name of one whose /app is this checkout."""
    assert images.is_dir()
    up = command("up", "--recreate", "--name", _NAME, "--memory-mb", "1536", "--cpus", "2")
    try:
        assert up.returncode == 0, up.stderr
        # A probe that sends faster than an emulated processor receives must lose nothing of its own.
        larger = command("ssh", "--name", _NAME, "--", "sudo", "sysctl", "-w", f"net.core.rmem_max={64 << 20}")
        assert larger.returncode == 0, larger.stderr
        assert "unable to resolve host" not in larger.stderr, "the guest does not know its own name"
        yield _NAME
    finally:
        command("down", "--name", _NAME)


def test_links_by_netem_do_what_was_asked(machine: str) -> None:
    needs = [word for name in _NEEDS for word in ("--needs", name)]
    done = command("test", "--name", machine, "--pytest", *needs, *_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) > 30  # what is about the emulator's own workings is skipped
