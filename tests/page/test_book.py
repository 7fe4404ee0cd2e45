"""The site of docs/ in Chromium: search, keys, both themes, a phone; and nothing of it comes from elsewhere."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from book.build import build
from tests.page.conftest import PATIENCE_MS, is_elsewhere

expect.set_options(timeout=PATIENCE_MS)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site is shown: below a path, as project pages of code forges are."""
    folder = tmp_path_factory.mktemp("book")
    assert build(folder / "patchbay") == []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(folder))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/patchbay/"
        server.shutdown()
        serving.join()


@pytest.fixture
def reader(browser: Browser, site: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A browser at the site; requests to anywhere else, and errors, fail the test."""
    wrong: list[str] = []
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}} | getattr(request, "param", {})
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MS)
    context.on("request", lambda sent: wrong.append(sent.url) if is_elsewhere(sent.url, site) else None)
    context.on("console", lambda message: wrong.append(message.text) if is_wrong(message) else None)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    yield context.new_page()
    context.close()
    assert wrong == []


def is_wrong(message: ConsoleMessage) -> bool:
    """Not that plain text has no icon, which the browser asks the server's root for."""
    return message.type == "error" and not message.location["url"].endswith("/favicon.ico")


def test_search_is_used_without_a_mouse(reader: Page, site: str) -> None:
    reader.goto(site + "reference/toml/")
    reader.keyboard.press("/")
    expect(reader.get_by_role("combobox", name="Search")).to_be_focused()
    reader.keyboard.type("hairpin")
    expect(reader.get_by_text(re.compile(r"^\d+ results$"))).to_be_visible()
    reader.keyboard.press("ArrowDown")
    reader.keyboard.press("Enter")
    reader.wait_for_url(re.compile("hairpin"))
    expect(reader.locator("article mark").first).to_have_text(re.compile("hairpin", re.IGNORECASE))


def test_keys_lead_from_page_to_page(reader: Page, site: str) -> None:
    reader.goto(site + "reference/nat/")
    reader.keyboard.press("n")
    reader.wait_for_url(site + "reference/nat-v6/")
    reader.keyboard.press("p")
    reader.wait_for_url(site + "reference/nat/")


def test_the_keyboard_reaches_the_text_first(reader: Page, site: str) -> None:
    reader.goto(site + "reference/nat/")
    reader.keyboard.press("Tab")
    focused = reader.locator(":focus")
    expect(focused).to_have_text("Skip to content")
    reader.keyboard.press("Enter")
    expect(reader).to_have_url(re.compile("/reference/nat/#"))


@pytest.mark.parametrize("reader", [{"color_scheme": "dark"}], indirect=True)
def test_the_site_follows_the_readers_theme(reader: Page, site: str) -> None:
    reader.goto(site + "reference/toml/")
    expect(reader.locator("body")).to_have_attribute("data-md-color-scheme", "slate")


@pytest.mark.parametrize("reader", [{"viewport": {"width": 390, "height": 800}}], indirect=True)
@pytest.mark.parametrize("place", ["", "reference/toml/"])
def test_a_phone_scrolls_tables_and_not_the_page(reader: Page, site: str, place: str) -> None:
    reader.goto(site + place)
    assert reader.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_sim_that_a_page_links_to_is_shown(reader: Page, site: str) -> None:
    reader.goto(site + "recipes/")
    reader.locator('article a[href$=".toml.txt"]').first.click()
    expect(reader.locator("body")).to_contain_text("[sim]")
