"""Branches, tags and commits of real repositories."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from patchbay_runner.binaries.git import Repository, repository_url
from patchbay_runner.binaries.tools import tool_environment
from patchbay_runner.errors import BinaryError
from tests.unit.binaries_support import Told, commit_all, git, task


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "origin"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    (path / "file").write_text("one")
    commit_all(path)
    return path


def clone(tmp_path: Path, origin: Path, told: Told | None = None) -> Repository:
    environment = tool_environment(os.environ, tmp_path)
    return Repository(f"file://{origin}", tmp_path / "clone", environment, task(told))


def test_a_branch_is_followed(tmp_path: Path, origin: Path) -> None:
    first = git(origin, "rev-parse", "HEAD")
    repository = clone(tmp_path, origin)
    assert repository.resolve("main", may_fetch=True) == first
    assert (repository.check_out(first) / "file").read_text() == "one"
    (origin / "file").write_text("two")
    second = commit_all(origin)
    assert repository.resolve("main", may_fetch=True) == second
    assert (repository.check_out(second) / "file").read_text() == "two"
    assert (repository.check_out(first) / "file").read_text() == "one"


def test_tags_and_hashes_are_found(tmp_path: Path, origin: Path) -> None:
    first = git(origin, "rev-parse", "HEAD")
    git(origin, "tag", "-m", "v1", "v1")
    git(origin, "branch", "feature/x")
    repository = clone(tmp_path, origin)
    for name in ("v1", "feature/x", first, first[:8]):
        assert repository.resolve(name, may_fetch=True) == first, name


def test_a_commit_on_no_branch_and_a_ref_are_found(tmp_path: Path, origin: Path) -> None:
    git(origin, "checkout", "-q", "--detach")
    (origin / "file").write_text("of a pull request")
    hidden = commit_all(origin)
    git(origin, "update-ref", "refs/pull/7/head", hidden)
    git(origin, "checkout", "-q", "main")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    repository = clone(tmp_path, origin)
    assert repository.resolve("refs/pull/7/head", may_fetch=True) == hidden
    assert clone(tmp_path / "other", origin).resolve(hidden, may_fetch=True) == hidden


def test_a_hash_that_is_there_needs_no_server(tmp_path: Path, origin: Path) -> None:
    first = clone(tmp_path, origin).resolve("main", may_fetch=True)
    shutil.rmtree(origin)
    told = Told()
    assert clone(tmp_path, origin, told).resolve(first, may_fetch=True) == first
    assert told.notes == []


def test_a_server_that_is_away_is_told(tmp_path: Path, origin: Path) -> None:
    first = clone(tmp_path, origin).resolve("main", may_fetch=True)
    shutil.rmtree(origin)
    told = Told()
    assert clone(tmp_path, origin, told).resolve("main", may_fetch=True) == first
    assert len(told.notes) == 1
    assert "cannot be reached" in told.notes[0]
    assert first[:12] in told.notes[0]


def test_what_is_not_there_is_explained(tmp_path: Path, origin: Path) -> None:
    with pytest.raises(BinaryError, match=r"has no 'v2'; expected a branch, tag .* \(its branches: main\)"):
        clone(tmp_path, origin).resolve("v2", may_fetch=True)
    with pytest.raises(BinaryError, match=r"'v2' of .* is not in the cache"):
        clone(tmp_path, origin).resolve("v2", may_fetch=False)
    with pytest.raises(BinaryError, match="cannot be fetched") as raised:
        clone(tmp_path / "other", tmp_path / "nowhere").resolve("main", may_fetch=True)
    assert any("nowhere" in line for line in raised.value.output)


def test_a_checkout_that_was_killed_does_no_harm(tmp_path: Path, origin: Path) -> None:
    repository = clone(tmp_path, origin)
    commit = repository.resolve("main", may_fetch=True)
    source = repository.check_out(commit)
    (source / ".git" / "index.lock").touch()
    (source / "file").write_text("half")
    assert (repository.check_out(commit) / "file").read_text() == "one"


def test_paths_are_relative_to_the_project(tmp_path: Path) -> None:
    assert repository_url("../crate", tmp_path / "x") == str(tmp_path / "crate")
    for remote in ("https://example.org/x.git", "git@example.org:x.git", "file:///x", "ssh://example.org/x"):
        assert repository_url(remote, tmp_path) == remote


def test_variables_of_a_hook_stay_outside(tmp_path: Path) -> None:
    environment = tool_environment({"GIT_DIR": "/x", "GIT_INDEX_FILE": "y", "PATH": "/bin"}, tmp_path)
    assert environment["HOME"] == str(tmp_path)
    assert "GIT_DIR" not in environment
    assert "GIT_INDEX_FILE" not in environment
