"""A real run, the server on it, and Chromium in front of that."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

collect_ignore_glob = ["*.toml"]  # patchbay's own pytest plugin would run these sims as tests

SIMS = Path(__file__).parent / "sims"
PATIENCE_MS = 20_000  # what a busy machine may take; nothing waits for a time, all for what shows


ORIGIN = {
    "project": "web",
    "branch": "fix/handover",
    "commit": "0123456789abcdef",
    "pr": 7,
    "pr_url": "https://forge.example/web/pull/7",
    "title": "Survive a handover",
}


class Served(NamedTuple):
    """A work directory in a server. `run` and `other` are two runs of the same sims; that of `other` was pushed."""

    url: str
    work_dir: Path
    run: str
    other: str


@contextmanager
def serving(work_dir: Path, bind: str = "127.0.0.1:0") -> Iterator[str]:
    """`patchbay serve`; its address."""
    command = ["patchbay", "serve", str(work_dir), "--bind", bind]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        first = server.stderr.readline()
        found = re.match(r"(http://\S+) shows", first)
        try:
            assert found, f"patchbay serve says {first!r}"
            yield found[1].rstrip("/") + "/"
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def work_dir(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """Two runs: the one made here, and a copy of it under another name."""
    work_dir = tmp_path_factory.mktemp("page") / "work"
    command = ["patchbay", "run", str(SIMS), "--work-dir", str(work_dir), "--jobs", "3"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1, done.stderr  # one sim fails, as it should
    run = (work_dir / "latest").resolve()
    again = shutil.copytree(run, work_dir / f"{run.name}-again")
    (again / "run.json").write_text(json.dumps(ORIGIN))
    return work_dir


@pytest.fixture(scope="session")
def served(work_dir: Path) -> Iterator[Served]:
    run = (work_dir / "latest").resolve().name
    with serving(work_dir) as url:
        yield Served(url, work_dir, run, f"{run}-again")


def chromium(playwright: Playwright) -> Browser:
    """Debian's browser."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own sandbox refuses root
    return playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = chromium(playwright)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser, served: Served) -> Iterator[BrowserContext]:
    """A browser with nothing remembered. Requests to anywhere but the server, and errors, fail the test."""
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    context.on("request", lambda request: wrong.append(request.url) if is_elsewhere(request.url, served.url) else None)
    context.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield context
    context.close()
    assert [text for text in wrong if "404 (Not Found)" not in text] == []


def is_elsewhere(url: str, own: str) -> bool:
    return not url.startswith((own, "blob:", "about:"))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture
def show(page: Page, served: Served) -> Callable[[str], Page]:
    """Opens a place of the page, from nothing: `show("#/runs")`."""

    def opened(place: str) -> Page:
        page.goto("about:blank")
        page.goto(served.url + place)
        page.locator("main h1").first.wait_for()
        return page

    return opened
