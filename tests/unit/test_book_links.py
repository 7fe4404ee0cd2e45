"""The check of the site finds what leads nowhere, and what would be loaded from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from book.links import problems_of_site
from book.slugs import slug
from book.sources import problems_of_sources, site_addresses


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of two pages."""
    (tmp_path / "guide").mkdir()
    (tmp_path / "index.html").write_text('<h1 id="top">patchbay</h1><a href="guide/#nat">NAT</a>')
    (tmp_path / "guide" / "index.html").write_text('<h2 id="nat">NAT</h2><a href="..">home</a><a href="#nat">x</a>')
    return tmp_path


def test_a_site_whose_links_lead_somewhere_has_no_problem(site: Path) -> None:
    assert problems_of_site(site) == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('<a href="guide/firewall/">', "guide/firewall/ leads nowhere"),
        ('<a href="guide/#firewall">', "guide/#firewall: the page has no such place"),
        ('<a href="#bottom">', "#bottom: the page has no such place"),
        ('<a href="../">', "../ leads nowhere"),
        ('<img src="picture.png">', "picture.png leads nowhere"),
        ('<source srcset="dark.webp">', "dark.webp leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "loads https://cdn.example/x.js from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', "loads //fonts.example/a.css from elsewhere"),
    ],
)
def test_what_leads_nowhere_is_told(site: Path, written: str, told: str) -> None:
    (site / "index.html").write_text(f'<h1 id="top">patchbay</h1>{written}')
    assert problems_of_site(site) == [f"index.html: {told}"]


def test_links_to_other_sites_are_not_followed(site: Path) -> None:
    (site / "index.html").write_text('<a href="https://www.rfc-editor.org/rfc/rfc4787">RFC 4787</a>')
    assert problems_of_site(site) == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "guide").mkdir(parents=True)
    (tmp_path / "docs" / "guide" / "nat.md").write_text("# NAT\n")
    (tmp_path / "zensical.toml").write_text('[project]\nnav = [{ "Guide" = [{ "NAT" = "guide/nat.md" }] }]\n')
    (tmp_path / "README.md").write_text("# patchbay\n\n## Use it\n\n[here](#use-it) [NAT](docs/guide/nat.md#nat)\n")
    return tmp_path


ADDRESSES = {"docs/guide/nat.md": frozenset({"nat"})}


def test_sources_whose_links_lead_somewhere_have_no_problem(repository: Path) -> None:
    assert problems_of_sources(repository, ADDRESSES) == []


def test_a_page_that_the_menu_lacks_is_told(repository: Path) -> None:
    (repository / "docs" / "orphan.md").write_text("# Orphan\n")
    assert problems_of_sources(repository, ADDRESSES) == ["docs/orphan.md is not in the nav of zensical.toml"]


@pytest.mark.parametrize("link", ["docs/gone.md", "docs/guide/nat.md#gone", "#gone"])
def test_a_dead_link_of_the_readme_is_told(repository: Path, link: str) -> None:
    (repository / "README.md").write_text(f"# patchbay\n\n[there]({link})\n")
    (problem,) = problems_of_sources(repository, ADDRESSES)
    assert problem.startswith(f"README.md: {link}")


def test_a_page_that_code_names_must_be_there(repository: Path) -> None:
    (repository / "scripts").mkdir()
    (repository / "scripts" / "setup").write_text("# see docs/gone.md, or docs/guide/nat.md\n")
    assert problems_of_sources(repository, ADDRESSES) == ["scripts/setup: there is no docs/gone.md"]


def test_pages_of_the_site_are_known_by_their_sources(site: Path) -> None:
    assert site_addresses(site)["docs/guide.md"] == frozenset({"nat"})


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("Where programs come from", "where-programs-come-from"),
        ("`--binary NAME=MODE:VALUE`", "--binary-namemodevalue"),
        ("`[device.<name>]`", "devicename"),
        ("`[[router]]`", "router"),
        ("`set-downlink`, `set-uplink`", "set-downlink-set-uplink"),
    ],
)
def test_headings_are_named_as_code_forges_do(heading: str, name: str) -> None:
    assert slug(heading) == name


def test_pictures_are_small(checkout: Path) -> None:
    pictures = list((checkout / "docs" / "pictures").iterdir())
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 200_000] == []
