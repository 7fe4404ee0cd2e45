"""A clone of a Git repository in the cache, at the commit that is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from patchbay_runner.binaries.download import shown_url
from patchbay_runner.binaries.progress import Task
from patchbay_runner.binaries.tools import Ended, run_tool
from patchbay_runner.errors import BinaryError

_FULL_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EVERYTHING = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
_LAST_LINES = 5


def repository_url(repo: str, root: Path) -> str:
    """`repo` as git takes it from anywhere: a path is relative to `root`."""
    is_remote = "://" in repo or re.match(r"[^/]+:", repo)
    return repo if is_remote else str((root / Path(repo).expanduser()).resolve())


class Repository:
    """The clone of `url` in `directory`. Its lock is held."""

    def __init__(self, url: str, directory: Path, environment: Mapping[str, str], task: Task) -> None:
        self._url = url
        self._shown = shown_url(url)
        self._source = directory
        self._environment = environment
        self._task = task

    def resolve(self, commit: str, *, may_fetch: bool) -> str:
        """The hash of a branch, tag or commit, fetched from the repository.

        Where it does not answer, what was fetched earlier counts, and a note says so. Raises BinaryError.
        """
        if not (self._source / ".git").is_dir():
            self._source.mkdir(parents=True, exist_ok=True)
            self._must(self._git("init", "--quiet"), "git init fails")
        if _FULL_HASH.fullmatch(commit) and self._hash_of(commit):
            return commit
        failed = self._fetch(commit) if may_fetch else None
        found = self._find(commit)
        if found is None:
            raise self._missing(commit, failed, may_fetch=may_fetch)
        if failed:
            reason = failed.tail[-1] if failed.tail else f"git exits with code {failed.exit_code}"
            self._task.note(f"{self._shown} cannot be reached ({reason}); {found[:12]} of the last fetch is used")
        return found

    def check_out(self, commit: str) -> Path:
        """Makes the working tree that of a hash, submodules included."""
        # Left behind by a git that was killed; nobody else works here.
        (self._source / ".git" / "index.lock").unlink(missing_ok=True)
        checkout = self._git("checkout", "--quiet", "--force", "--detach", commit)
        self._must(checkout, f"{commit[:12]} of {self._shown} cannot be checked out")
        if (self._source / ".gitmodules").exists():
            updated = self._git("submodule", "--quiet", "update", "--init", "--recursive", "--force")
            self._must(updated, f"the submodules of {self._shown} cannot be fetched")
        return self._source

    def _fetch(self, commit: str) -> Ended | None:
        """None when it worked, else how git ended."""
        text = f"fetching {self._shown}"
        with self._task.shown(text, f"fetched {self._shown}"):
            if commit.startswith("refs/"):
                ended = self._git("fetch", "--force", "--progress", "--", self._url, f"+{commit}:{_kept(commit)}")
            else:
                ended = self._git("fetch", "--force", "--progress", "--prune", "--", self._url, *_EVERYTHING)
                if ended.exit_code == 0 and _FULL_HASH.fullmatch(commit) and not self._hash_of(commit):
                    self._git("fetch", "--progress", "--", self._url, commit)  # on no branch, as of a pull request
        return ended if ended.exit_code else None

    def _find(self, commit: str) -> str | None:
        names = (
            [_kept(commit)] if commit.startswith("refs/") else [f"refs/remotes/origin/{commit}", f"refs/tags/{commit}"]
        )
        if re.fullmatch(r"[0-9a-f]{4,64}", commit):
            names.append(commit)
        return next((found for found in map(self._hash_of, names) if found), None)

    def _hash_of(self, name: str) -> str | None:
        ended = self._git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
        return ended.output.decode().strip() if ended.exit_code == 0 else None

    def _missing(self, commit: str, failed: Ended | None, *, may_fetch: bool) -> BinaryError:
        if failed:
            return BinaryError(f"{self._shown} cannot be fetched", "a Git repository", failed.tail[-_LAST_LINES:])
        if not may_fetch:
            return BinaryError(f"{commit!r} of {self._shown} is not in the cache", "a run without --no-build before")
        listed = self._git("for-each-ref", "--format=%(refname:lstrip=3)", "--count=8", "refs/remotes/origin")
        branches = ", ".join(listed.output.decode().split())
        hint = f" (its branches: {branches})" if branches else ""
        return BinaryError(f"{self._shown} has no {commit!r}", f"a branch, tag or commit of it{hint}")

    def _git(self, *arguments: str) -> Ended:
        return run_tool(["git", *arguments], self._source, self._environment, self._task)

    def _must(self, ended: Ended, problem: str) -> None:
        if ended.exit_code:
            raise BinaryError(problem, output=ended.tail[-_LAST_LINES:])


def _kept(ref: str) -> str:
    return ref.replace("refs/", "refs/patchbay/", 1)
