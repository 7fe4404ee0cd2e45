"""The record of a lab, as a test suite leaves it, in the page."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from patchbay_runner import Lab

from .conftest import PATIENCE_MS, serving

expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Of a lab whose code has logged, and in which something has happened."""
    log, connected = logging.getLogger("app.net"), logging.getLogger("app._events.Connected")
    with Lab(outdir=tmp_path / "a-lab", label="handover", capture=True) as lab:
        phone = lab.add_device("my.phone", lab.add_router("home", nat="home"))
        phone.run_sync(connected.info, "", extra={"peer": "198.18.1.2"})
        phone.run_sync(log.warning, "lost the server", extra={"tries": 3})
        phone.link_down("eth0")
        logging.getLogger("app._events.Verdict").info("all is lost")
    return tmp_path / "a-lab"


def test_a_record_shows_its_network_its_logs_and_its_events(browser: Browser, record: Path) -> None:
    with serving(record.parent) as url, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}#/runs")
        page.get_by_role("link", name="a-lab").click()
        expect(page.locator("main h1").first).to_contain_text("handover")
        sim = f"{url}#/run/a-lab/sim/a-lab/"
        look_at_topology(page, sim)
        look_at_logs(page, sim)
        look_at_timeline(page, sim)
        page.goto(f"{sim}files")
        expect(page.get_by_text("captures/my.phone.eth0.pcapng")).to_be_visible()


def look_at_topology(page: Page, sim: str) -> None:
    page.goto(f"{sim}topology")
    expect(page.locator(".wire-label.is-down")).to_contain_text("down")


def look_at_logs(page: Page, sim: str) -> None:
    page.goto(f"{sim}logs?node=my.phone")
    expect(page.locator(".log-row").nth(1)).to_contain_text("WARN app.net: lost the server tries=3")
    entries = page.get_by_role("navigation", name="Logs")
    expect(entries.get_by_role("link", name="tracing.jsonl").last).to_have_attribute("aria-current", "true")
    expect(entries).to_contain_text("lab.tracing.jsonl")


def look_at_timeline(page: Page, sim: str) -> None:
    page.goto(f"{sim}timeline")
    page.get_by_role("button", name="List").click()
    expect(page.get_by_text("Connected")).to_be_visible()
    expect(page.get_by_text("Verdict")).to_be_visible()
