"""Topology, Logs and Timeline: what a person does with them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from .conftest import PATIENCE_MS, Served, serving

expect.set_options(timeout=PATIENCE_MS)
Show = Callable[[str], Page]
ROAMING = "#/run/{}/sim/roaming/"


def place(served: Served, tab: str) -> str:
    return ROAMING.format(served.run) + tab


def test_a_replay_takes_the_network_back(show: Show, served: Served) -> None:
    page = show(place(served, "topology?sel=device:phone"))
    details = page.get_by_label("Details", exact=True)
    expect(details).to_contain_text("wlan0 down")
    expect(page.locator(".face-router", has_text="wifi")).to_contain_text("block-inbound")
    page.keyboard.press(",")  # to the last change, and to the one before it
    expect(page.locator(".replay-change")).to_contain_text("default via cell0")
    page.keyboard.press(",")
    expect(details).to_contain_text("Default viawlan0")
    page.get_by_label("Moment of the run").press("Home")
    expect(page.locator(".face-router")).to_have_count(0)
    page.get_by_role("button", name="Next change").click()
    expect(page.locator(".replay-change")).to_contain_text("phone wlan0 down")
    expect(page.locator(".wire-label.is-down")).to_contain_text("wlan0")
    expect(page.locator(".face-router", has_text="wifi")).not_to_contain_text("block-inbound")
    expect(page).to_have_url(re.compile(r"[?&]t=\d{16}"))
    page = show(page.url.removeprefix(served.url))
    expect(page.locator(".replay-change")).to_contain_text("phone wlan0 down")
    page.get_by_role("button", name="End").click()
    expect(page).not_to_have_url(re.compile(r"[?&]t="))


def test_nodes_are_reached_by_keys(show: Show, served: Served) -> None:
    page = show(place(served, "topology"))
    phone = page.get_by_role("group", name=re.compile("^device, phone"))
    phone.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Details", exact=True)).to_contain_text("cell0 up")
    expect(page).to_have_url(re.compile("sel=device%3Aphone"))
    page.get_by_label("Details", exact=True).get_by_role("button", name="cell").click()
    expect(page.get_by_label("Details", exact=True)).to_contain_text("cgnat")
    page.get_by_text("What the NAT does").click()
    expect(page.get_by_label("Details", exact=True)).to_contain_text("udp timeout30 s")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Details", exact=True)).to_have_count(0)


def test_a_long_log_is_drawn_in_part_and_searched_in_whole(show: Show, served: Served) -> None:
    page = show(place(served, "logs?node=phone"))
    rows = page.locator(".log-row")
    expect(rows.first).to_contain_text("ERROR dial{n=0}: app::net: packet 0 came peer=10.0.0.1")
    page.keyboard.press("/")
    page.keyboard.type("packet 29")
    expect(page.locator(".log-matches")).to_have_text("111 lines")  # 29, 290 to 299, 2900 to 2999
    page.keyboard.press("Enter")
    expect(page.locator(".log-row[aria-selected=true]")).to_contain_text("packet 29 came")
    page.keyboard.press("Enter")
    expect(page.locator(".log-row[aria-selected=true]")).to_contain_text("packet 290 came")
    expect(page.locator(".log-matches")).to_contain_text("2 of 111")
    assert rows.count() < 200, "all of the log is drawn"
    page = show(page.url.removeprefix(served.url))
    expect(page.locator(".log-row[aria-selected=true]")).to_contain_text("packet 290 came")
    page.get_by_label("only these").click()
    expect(rows.first).to_contain_text("packet 29 came")
    expect(rows.nth(1)).to_contain_text("packet 290 came")


def test_a_log_goes_to_its_end_and_shows_its_colours(show: Show, served: Served) -> None:
    page = show(place(served, "logs?node=phone&step=chatter"))
    expect(page.locator(".log-row").first).to_be_visible()
    page.keyboard.press("G")
    last = page.locator(".log-row", has_text="all done").locator(".ansi-bold")
    expect(last).to_be_visible()
    expect(page.locator(".log-position")).to_contain_text("%")
    page.keyboard.press("g")
    expect(page.locator(".log-row").first).to_contain_text("packet 0 came")


def test_levels_leave_out_what_is_below(show: Show, served: Served) -> None:
    page = show(place(served, "logs?node=phone"))
    page.get_by_label("Level").select_option("warn")
    expect(page.locator(".log-row").nth(1)).to_contain_text("packet 5 came")
    expect(page.locator(".log-debug, .log-info")).to_have_count(0)


def test_a_log_without_lines_and_one_that_is_not_there(show: Show, served: Served) -> None:
    page = show(place(served, "logs?log=nodes/phone/chatter.stderr.log"))
    expect(page.get_by_text("Nothing was written")).to_be_visible()
    page = show(place(served, "logs?log=nodes/phone/other.log"))
    expect(page.get_by_text("There is no such log")).to_be_visible()


def test_the_timeline_leads_to_the_log_and_back(show: Show, served: Served) -> None:
    page = show(place(served, "timeline?view=list"))
    own = page.locator("tbody tr", has_text="PeerConnected")
    expect(own).to_have_count(3)
    own.first.click()
    details = page.get_by_label("The selected item")
    expect(details).to_contain_text("phone")
    details.get_by_role("link", name="Log", exact=True).click()
    expect(page.locator(".log-row[aria-selected=true]")).to_contain_text("PeerConnected")
    page.get_by_label("The selected line").get_by_role("link", name="In the timeline").click()
    expect(page).to_have_url(re.compile(r"timeline\?t=\d{16}"))
    page.locator("canvas.chart").wait_for()
    page.keyboard.press("j")  # the first item from there on
    expect(page.get_by_label("The selected item")).to_contain_text(re.compile("phone"))


def test_the_timeline_zooms_and_hides(show: Show, served: Served) -> None:
    page = show(place(served, "timeline"))
    chart = page.locator("canvas.chart")
    chart.hover()
    page.mouse.wheel(0, -600)
    expect(page).to_have_url(re.compile(r"from=\d{16}&to=\d{16}"))
    page.keyboard.press("0")
    expect(page).not_to_have_url(re.compile("from="))
    page.get_by_label("Own events").click()
    expect(page).to_have_url(re.compile("hide=custom"))
    page.keyboard.press("l")
    expect(page.locator("tbody tr", has_text="wlan0 down")).to_be_visible()
    expect(page.locator("tbody tr", has_text="PeerConnected")).to_have_count(0)


def test_a_log_is_followed_while_it_grows(browser: Browser, tmp_path: Path, checkout: Path) -> None:
    flag = tmp_path / "flag"
    work_dir = tmp_path / "work"
    command = ["patchbay", "run", "tests/page/live.toml", "--work-dir", str(work_dir)]
    environment = os.environ | {"PATCHBAY_PAGE_FLAG": str(flag)}
    work_dir.mkdir()
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    with serving(work_dir) as url, subprocess.Popen(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL):
        try:
            page.goto(url)
            page.locator("tbody a").first.click()
            page.get_by_role("link", name="live").click()
            page.get_by_role("link", name="Logs", exact=True).click()
            expect(page.locator(".log-row")).to_have_text("1n=1")
            page.get_by_role("button", name="Follow").click()
            expect(page).to_have_url(re.compile("follow=1"))
            flag.touch()
            expect(page.locator(".log-row").nth(1)).to_have_text("2n=2")
        finally:
            flag.touch()
    page.close()
