"""Takes the pictures of README and the introduction: a real run of a sim in the page, in both themes.

python -m tests.page.picture
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, sync_playwright

from tests.page.conftest import PATIENCE_MS, chromium, serving
from tests.page.test_looks import wait_until_drawn

CHECKOUT = Path(__file__).resolve().parents[2]
PICTURES = CHECKOUT / "docs" / "pictures"
SIM = CHECKOUT / "sims" / "patterns" / "wifi-to-cellular.toml"
PLACE = "#/run/{run}/sim/{sim}/topology?sel=device:phone"
THEMES = ("light", "dark")


def main() -> int:
    """Runs the sim, and writes a picture for each theme."""
    PICTURES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        work_dir = Path(folder) / "work"
        subprocess.run(["patchbay", "run", SIM, "--work-dir", work_dir], cwd=CHECKOUT, check=True)
        run = (work_dir / "latest").resolve().name
        with serving(work_dir) as url, sync_playwright() as playwright:
            browser = chromium(playwright)
            for theme in THEMES:
                take(browser, url + PLACE.format(run=run, sim=SIM.stem), theme)
            browser.close()
    return 0


def take(browser: Browser, address: str, theme: str) -> None:
    context = browser.new_context(color_scheme=theme, viewport={"width": 1200, "height": 700}, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(address)
    wait_until_drawn(page)
    page.screenshot(path=PICTURES / f"topology-{theme}.png")
    context.close()


if __name__ == "__main__":
    sys.exit(main())
