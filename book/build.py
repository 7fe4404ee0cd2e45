"""The way from docs/ to a site that is checked."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from book.files import bring_files
from book.links import problems_of_site
from book.sources import problems_of_sources, site_addresses
from book.zensical import ROOT, zensical

SITE = ROOT / "site"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def build(site: Path) -> list[str]:
    """Builds the site anew at `site`, and returns what is wrong with it: nothing, when it is as it should be."""
    shutil.rmtree(site, ignore_errors=True)
    with TemporaryDirectory() as workshop:  # the generator wants its cache and its output beside docs/
        copy = Path(workshop)
        shutil.copytree(ROOT / "docs", copy / "docs")
        shutil.copy(ROOT / "zensical.toml", copy)
        done = zensical(copy, "build")
        said = _COLOUR.sub("", done.stdout + done.stderr)
        if done.returncode:
            return [said]
        shutil.copytree(copy / "site", site)
    bring_files(site, ROOT)
    warnings = [said] if "Warning" in said else []
    return [*warnings, *problems_of_site(site), *problems_of_sources(ROOT, site_addresses(site))]
