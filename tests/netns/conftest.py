"""Labs for tests: a zygote for the whole session, a fresh sandbox with an agent for each lab."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from patchbay_runner.kernel.sandbox import Zygote
from patchbay_runner.lab.agent import serve_lab
from patchbay_runner.lab.client import LabClient


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Forks sandboxes; `lab` is the entry that serves a lab's commands."""
    with Zygote.start({"lab": serve_lab}) as started:
        yield started


@pytest.fixture(scope="session")
def new_lab(zygote: Zygote) -> Iterator[Callable[[], LabClient]]:
    """Makes labs that last until the session's end, for modules that share one between their tests."""
    with ExitStack() as stack:
        yield lambda: _lab(zygote, stack)


@pytest.fixture
def lab(zygote: Zygote) -> Iterator[LabClient]:
    """A fresh agent; `lab.build(topology)` makes its network, which goes with the test."""
    with ExitStack() as stack:
        yield _lab(zygote, stack)


def _lab(zygote: Zygote, stack: ExitStack) -> LabClient:
    sandbox = stack.enter_context(zygote.sandbox("lab"))
    sandbox.wait_ready(10)
    client = LabClient(sandbox.control)
    stack.callback(client.close)
    return client
