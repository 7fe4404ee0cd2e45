"""Every tab in both themes and at the width of a phone: pictures for review, and what axe finds in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import PATIENCE_MS, Served

SIM = "#/run/{run}/sim/transfer-slow/"
PLACES = {
    "runs": "#/runs",
    "run": "#/run/{run}",
    "compare": "#/run/{run}/perf?with={other}",
    "failed": "#/run/{run}/sim/broken/sim",
    "sim": SIM + "sim?step=2",
    "topology": SIM + "topology?node=laptop",
    "events": SIM + "events?at=14",
    "logs": "#/run/{run}/sim/roaming/logs?node=phone&at=0&q=packet",
    "timeline": "#/run/{run}/sim/roaming/timeline?sel=8",
    "timeline-list": SIM + "timeline?view=list",
    "perf": SIM + "perf",
    "files": SIM + "files",
}
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 800}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 780}, "has_touch": True},
}
SERIOUS = """async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.filter((one) => ["serious", "critical"].includes(one.impact)).map(
    (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`);
}"""


@pytest.mark.parametrize("look", LOOKS)
def test_every_tab_looks_well(browser: Browser, served: Served, checkout: Path, look: str) -> None:
    axe = (checkout / "ui/node_modules/axe-core/axe.min.js").read_text()
    pictures = checkout / "build" / "page"
    found: dict[str, list[str]] = {}
    context = browser.new_context(reduced_motion="reduce", **LOOKS[look])
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(served.url)
    page.evaluate(axe)  # it stays, for the page never reloads
    for name, place in PLACES.items():
        page.evaluate("place => { location.hash = place }", place.format(run=served.run, other=served.other))
        wait_until_drawn(page)
        page.screenshot(path=pictures / f"{name}-{look}.png")
        found[name] = page.evaluate(SERIOUS)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found[name].append("the page is wider than the screen")
    context.close()
    assert {name: what for name, what in found.items() if what} == {}


def wait_until_drawn(page: Page) -> None:
    """Until what was asked for shows, and two frames were drawn with it."""
    page.locator("main h1").wait_for()
    expect(page.locator(".state-loading")).to_have_count(0, timeout=PATIENCE_MS)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
