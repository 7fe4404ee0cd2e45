"""The examples in the library's docstrings do what they show, each in a fresh lab of the network that they speak of."""

from __future__ import annotations

import asyncio
import doctest
import io
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from patchbay_runner import Lab
from tests.library_members import examples, fixtures, members

# Without `enter`, after which nothing here would be as before: `test_entered.py` has a process for it.
MEMBERS = {name: text for name, text in members().items() if name != "enter"}


def world(lab: Lab) -> dict[str, Any]:
    """The names that examples use without saying where they come from."""
    dc, home = lab.add_router("dc"), lab.add_router("home", nat="home")
    server, laptop = lab.add_device("server", dc), lab.add_device("laptop", home)
    # Of a module that workers cannot import, so that functions of examples are pickled whole.
    there = {"lab": lab, "dc": dc, "home": home, "server": server, "laptop": laptop}
    return {"__name__": "__main__", "asyncio": asyncio, "socket": socket, **there}


@pytest.mark.parametrize("name", MEMBERS)
def test_an_example(name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkout)
    told = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF)
    with Lab() as lab, ThreadPoolExecutor(1) as elsewhere:  # `network` marks a thread for good
        test = doctest.DocTest(examples(name, MEMBERS[name]), world(lab), name, None, 0, MEMBERS[name])
        results = elsewhere.submit(runner.run, test, out=told.write).result(60)
    assert results.attempted > 0
    assert results.failed == 0, told.getvalue()


def test_the_examples_of_the_plugin_pass(tmp_path: Path) -> None:
    sources = [example.source for name, text in fixtures().items() for example in examples(name, text)]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_examples.py").write_text("import pytest\n\n\n" + "\n\n".join(sources))
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/tmp"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert "5 passed" in done.stdout, done.stdout
