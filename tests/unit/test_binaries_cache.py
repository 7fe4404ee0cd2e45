"""The cache of downloads and builds: what is marked as used, what cleaning takes, and that it waits for runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchbay_runner.binaries.cache import Cache
from patchbay_runner.binaries.cleaning import Kept, remove, survey, unused
from patchbay_runner.cli.main import run_command

DAY_S = 86_400
# Has the program of a key given to it, says so, and is a run until its input ends.
RUN = """
import sys
from pathlib import Path
from patchbay_runner.binaries.cache import Cache
print(Cache(Path(sys.argv[1])).program("tool"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "patchbay"


@pytest.fixture
def other_run(root: Path) -> Iterator[subprocess.Popen[str]]:
    put(root / "programs" / "tool" / "relay", 1)
    command = [sys.executable, "-c", RUN, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("tool/relay\n")
        yield process
        process.kill()


def put(path: Path, days: float, size: int = 10) -> Path:
    """A file that was used so many days ago, as was the directory that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    for each in (path, path.parent):
        os.utime(each, (time.time() - days * DAY_S,) * 2)
    return path


def thing(name: str, used_s: float, size: int = 100) -> Kept:
    return Kept(used_s, Path(name), "programs", size)


@pytest.mark.parametrize(
    ("since_s", "most_bytes", "names"),
    [
        (0, None, ""),
        (3, None, "ab"),
        (9, None, "abcd"),
        (0, 400, ""),
        (0, 399, "a"),
        (0, 200, "ab"),
        (0, 0, "abcd"),
        (3, 400, "ab"),
        (2, 150, "abc"),
    ],
)
def test_what_goes(since_s: float, most_bytes: int | None, names: str) -> None:
    things = [thing("c", 3), thing("a", 1), thing("d", 4), thing("b", 2)]
    going = unused(things, since_s=since_s, most_bytes=most_bytes)
    assert "".join(each.path.name for each in going) == names


def test_things_are_whole_programs_and_repositories(root: Path) -> None:
    put(root / "content" / "abc", 1, size=10_000)
    put(root / "programs" / "key" / "relay", 3)
    put(root / "repositories" / "key" / "target" / "release" / "relay", 0)
    os.utime(root / "repositories" / "key", (1, 1))
    put(root / "locks" / "key", 0)
    found = [(each.kind, each.path.relative_to(root).as_posix()) for each in survey(root)]
    assert found == [
        ("remains", "locks/key"),
        ("repositories", "repositories/key"),
        ("programs", "programs/key"),
        ("downloads", "content/abc"),
    ]
    assert survey(root)[-1].size >= 10_000


def test_what_is_asked_for_is_marked_as_used(root: Path) -> None:
    content = put(root / "content" / "abc", 99)
    program = put(root / "programs" / "key" / "relay", 99)
    stale = put(root / "programs" / "other" / "relay", 99)
    cache = Cache(root)
    assert (cache.content("abc"), cache.program("key"), cache.program("none")) == (content, program, None)
    assert [each.path for each in unused(survey(root), since_s=time.time() - DAY_S)] == [stale.parent]


def test_cleaning_that_was_killed_is_gone_on_with(root: Path) -> None:
    put(root / "repositories" / ".going-key" / "source", 0)
    remove(unused(survey(root), since_s=1))
    assert list((root / "repositories").iterdir()) == []


def test_a_program_is_kept_whole_after_cleaning(root: Path) -> None:
    cache = Cache(root)
    kept = cache.keep_program("key", "relay", io.BytesIO(b"#!/bin/sh"))
    remove(survey(root))
    assert not kept.exists()
    assert cache.program("key") is None
    assert cache.keep_program("key", "relay", io.BytesIO(b"#!/bin/sh")) == kept


def test_the_command_tells_what_there_is(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["cache"]) == 0
    assert capsys.readouterr().out == f"{root} is not there: nothing has been downloaded or built\n"
    put(root / "content" / "old", 40, size=8192)
    put(root / "content" / "new", 1, size=8192)
    put(root / "programs" / "key" / "relay", 1)
    assert run_command(["cache"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], [line.split()[:2] for line in lines[1:-1]]) == (
        str(root),
        [["downloads", "2"], ["programs", "1"]],
    )
    assert lines[-1].endswith(" KB of it unused for 30 days: patchbay cache --clean")


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], {"new", "newer"}),
        (["--unused-days", "3"], {"newer"}),
        (["--unused-days", "0"], set()),
        (["--down-to", "1GB"], {"old", "new", "newer"}),
        (["--down-to", "150KB"], {"newer"}),
        (["--down-to", "1TB", "--unused-days", "3"], {"newer"}),
    ],
)
def test_the_command_cleans(root: Path, capsys: pytest.CaptureFixture[str], options: list[str], left: set[str]) -> None:
    for name, days in (("old", 40), ("new", 4), ("newer", 1)):
        put(root / "content" / name, days, size=100_000)
    assert run_command(["cache", "--clean", *options]) == 0
    assert {path.name for path in (root / "content").iterdir()} == left
    assert capsys.readouterr().out.startswith(
        f"removed {3 - len(left)} things, " if len(left) != 2 else "removed 1 thing, "
    )


@pytest.mark.parametrize(
    "arguments", [["--unused-days", "1"], ["--down-to", "1GB"], ["--clean", "--down-to", "x"], ["--clean", "now"]]
)
def test_what_makes_no_sense_removes_nothing(root: Path, arguments: list[str]) -> None:
    put(root / "content" / "old", 400)
    assert run_command(["cache", *arguments]) == 2
    assert (root / "content" / "old").exists()


def test_cleaning_waits_for_the_end_of_a_run(root: Path, other_run: subprocess.Popen[str]) -> None:
    command = [sys.executable, "-m", "patchbay_runner", "cache", "--clean", "--unused-days", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as cleaning:
        assert cleaning.stdout is not None
        assert cleaning.stderr is not None
        assert cleaning.stderr.readline() == "a run uses the cache; waiting for its end\n"
        assert (root / "programs" / "tool" / "relay").exists()
        other_run.communicate(timeout=30)
        assert cleaning.stdout.readline().startswith("removed 1 thing, ")
    assert not (root / "programs" / "tool").exists()


def test_a_cache_that_cannot_be_held_is_the_hosts_fault(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(root / "in-use" / "file", 1)
    assert run_command(["cache", "--clean"]) == 4
    assert capsys.readouterr().err == f"error: {root}/in-use: Is a directory\n"
