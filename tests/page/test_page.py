"""What a person does with the page, in Chromium."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from .conftest import PATIENCE_MS, Served, serving

expect.set_options(timeout=PATIENCE_MS)
Show = Callable[[str], Page]


def row(page: Page, text: str) -> Locator:
    return page.locator("tbody tr", has_text=text)


def test_the_index_narrows_down_and_opens_by_keys(show: Show, served: Served) -> None:
    page = show("")
    expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("again")
    expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(1)
    expect(page).to_have_url(re.compile("#/runs.*text=again"))
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(row(page, served.other)).to_have_attribute("aria-current", "true")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"#/run/{served.other}$"))
    page.go_back()
    expect(page.get_by_role("searchbox", name="Search the runs")).to_have_value("again")


@pytest.mark.parametrize(("field", "value"), [("Project", "web"), ("Branch", "fix/handover"), ("Commit", "01234567")])
def test_the_index_knows_where_runs_come_from(show: Show, served: Served, field: str, value: str) -> None:
    page = show("#/runs")
    expect(row(page, served.other)).to_contain_text("Survive a handover")
    chooser = page.get_by_label(field, exact=True)
    chooser.fill(value) if field == "Commit" else chooser.select_option(value)
    expect(row(page, served.run)).to_have_count(1)
    expect(page.get_by_role("link", name="#7")).to_have_attribute("href", "https://forge.example/web/pull/7")


def test_the_link_of_a_push_leads_to_its_run(page: Page, served: Served) -> None:
    page.goto(f"{served.url}#/inv/{served.other}")
    expect(page.locator("main h1")).to_have_text("Survive a handover")
    expect(page).to_have_url(re.compile(f"#/run/{served.other}$"))


def test_no_run_fits(show: Show) -> None:
    page = show("#/runs?status=interrupted")
    expect(page.get_by_text("No run fits")).to_be_visible()
    page.get_by_role("link", name="Show all runs").click()
    expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(2)


def test_a_run_leads_from_the_reason_to_the_output(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}")
    assert "failed" in page.locator(".head").inner_text()
    failed = row(page, "broken")
    expect(failed).to_contain_text("greet exited with code 3")
    expect(row(page, "transfer-slow").locator("td", has_text=re.compile("^slow$"))).to_be_visible()
    failed.get_by_role("link", name="2 run greet").click()
    step = page.get_by_role("button", name=re.compile("failed.*greet"))
    expect(step).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_label("stderr of greet")).to_contain_text("a does not answer")
    expect(page.get_by_role("button", name=re.compile("skipped"))).to_be_visible()
    page.get_by_role("link", name=re.compile("State of the nodes then")).click()
    expect(row(page, "failure-state/b/").first).to_be_visible()


def test_a_step_shows_its_captures_and_assertions(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/sim?step=2")
    details = page.locator(".step-details")
    expect(details).to_contain_text("ping -n -c 8")
    expect(details.get_by_text("8 values")).to_be_visible()
    page.locator(".step-row").last.click()
    expect(page.locator(".assertions li")).to_have_count(2)
    expect(page).to_have_url(re.compile("step=6"))
    page.keyboard.press("k")
    expect(page.locator(".step-details")).to_contain_text("transfer.toml")
    expect(page.locator(".step-row[aria-expanded=true]")).to_contain_text("set-nat")


def test_events_are_found_and_shown_whole(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/events")
    page.get_by_label("Search the events").fill("nat_changed")
    expect(page.locator("tbody tr[aria-rowindex]")).to_have_count(1)
    row(page, "nat_changed").click()
    expect(page.get_by_label("Event", exact=True)).to_contain_text('"nat": "corporate"')
    page.keyboard.press("Escape")
    expect(page.get_by_label("Event", exact=True)).to_have_count(0)
    page.get_by_label("Search the events").fill("nothing has this")
    expect(page.get_by_text("No event fits")).to_be_visible()


def test_events_sort(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/events")
    page.get_by_role("button", name="#").click()
    expect(page.locator("tbody tr[aria-rowindex] td").first).to_have_text("0")
    page.get_by_role("button", name="#").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("#"))
    expect(page.locator("tbody tr[aria-rowindex]").first).to_contain_text("sim_finished")


def test_results_of_runs_stand_side_by_side(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/perf")
    page.get_by_label("Compare with").select_option(served.other)
    expect(page).to_have_url(re.compile(f"with={served.other}"))
    expect(row(page, "transfer-slow")).to_contain_text("+0.0\u202f%")
    page.get_by_label("Metric").select_option("down_mb_s")
    expect(page.get_by_role("figure", name="Download in MB/s")).to_be_visible()
    page.get_by_label("Chart by").select_option("link")
    expect(page.locator(".bar-label", has_text="slow download")).to_be_visible()


def test_links_are_drawn_over_time(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/perf")
    chart = page.get_by_role("figure", name=re.compile("^Rate over time: .*laptop.eth0 up at most .*bit"))
    expect(chart.locator("canvas")).to_be_visible()


def test_files_download_as_they_are(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/files?kind=generated")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download files/payload/content").click()
    assert download.value.path().read_text() == "a page\n"


def test_tabs_by_keys(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/sim")
    page.locator(".step").first.wait_for()
    page.keyboard.press("7")
    expect(page.locator("nav [aria-current=page]")).to_have_text("Files")
    page.keyboard.press("]")
    expect(page.locator("nav [aria-current=page]")).to_have_text("Sim")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("next step")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("u")
    expect(page).to_have_url(re.compile(f"#/run/{served.run}$"))


def test_the_focus_is_seen(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/broken/sim")
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_theme_follows_the_system_until_chosen(show: Show) -> None:
    page = show("#/runs")
    root = page.locator("html")
    page.emulate_media(color_scheme="dark")
    expect(root).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Theme").click()
    expect(root).to_have_attribute("data-theme", "light")
    page.reload()
    page.locator("main h1").wait_for()
    expect(root).to_have_attribute("data-theme", "light")


def test_the_selectors_lead_to_another_run_and_sim(show: Show, served: Served) -> None:
    page = show(f"#/run/{served.run}/sim/transfer-slow/events")
    page.get_by_label("Sim", exact=True).select_option("broken")
    expect(page).to_have_url(re.compile(f"#/run/{served.run}/sim/broken/events"))
    expect(page.locator("main h1")).to_have_text("broken")
    page.get_by_label("Run", exact=True).select_option(served.other)
    expect(page).to_have_url(re.compile(f"#/run/{served.other}$"))


@pytest.mark.parametrize(
    "place", ["#/run/nonsense", "#/inv/nonsense", "#/run/nonsense/sim/x/events", "#/run/{run}/sim/nonsense"]
)
def test_what_is_not_there_is_told(page: Page, served: Served, place: str) -> None:
    page.goto(served.url + place.format(run=served.run))
    expect(page.get_by_role("alert")).to_contain_text(re.compile("There is no"))


NONSENSE = [
    "sim?step=99",
    "topology?t=abc&node=zz",
    "events?at=zzz&group=none&kind=q&text=%F0%9F%92%A5",
    "logs?log=../../etc/passwd&at=-1",
    "timeline?t=-1",
    "perf?metric=x&axis=y&with=nonsense,,%2525&link=no",
    "files?kind=zz&at=%00",
    "nonsense?=&&==",
]


def test_nonsense_in_an_address_breaks_nothing(show: Show, served: Served) -> None:
    page = show("#/runs?status=zz&project=%00&at=x")
    for place in NONSENSE:
        page.evaluate("hash => { location.hash = hash }", f"#/run/{served.run}/sim/transfer-slow/{place}")
        expect(page.locator("main h1")).to_have_text("transfer-slow")
        expect(page.locator(".state-loading")).to_have_count(0)
        expect(page.get_by_text("This is a defect")).to_have_count(0)


def test_a_running_sim_shows_without_a_reload(show: Show, served: Served, tmp_path: Path, checkout: Path) -> None:
    flag = tmp_path / "flag"
    page = show("#/runs")
    command = ["patchbay", "run", "tests/page/live.toml", "--work-dir", str(served.work_dir)]
    environment = os.environ | {"PATCHBAY_PAGE_FLAG": str(flag)}
    with subprocess.Popen(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL) as runner:
        try:
            running = row(page, "running")
            expect(running).to_be_visible()
            page.evaluate("window.stays = true")
            running.get_by_role("link").click()
            page.get_by_role("link", name="live").click()
            first = page.locator(".step").nth(0)
            expect(first).to_have_attribute("aria-current", "step")
            expect(first).to_contain_text("n = 1")
            flag.touch()
            expect(first).to_contain_text("n = 2")
            expect(page.locator(".head")).to_contain_text("passed")
            expect(page.locator(".step-ok")).to_have_count(2)
            assert runner.wait(60) == 0
        finally:
            runner.terminate()
    assert page.evaluate("window.stays") is True


def test_a_lost_server_is_told_and_found_again(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    with serving(tmp_path) as url:
        page.goto(url)
        expect(page.get_by_text("No runs yet")).to_be_visible()
    expect(page.get_by_text("Connection lost")).to_be_visible()
    with serving(tmp_path, url.removeprefix("http://").rstrip("/")):
        expect(page.get_by_text("Connection lost")).to_have_count(0)
    page.close()
