"""Which files the command line's inputs mean, and how documents are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbay_runner.errors import InputError
from patchbay_runner.loader import load
from tests.unit.loading import Loading, loading

__all__ = ["loading"]

SIM = '[sim]\nname = "{}"\n[[step]]\naction = "wait"\nduration = "0s"\n'
LIBRARY = '[[step-template]]\nname = "t"\ncmd = ["a"]\n'


@pytest.fixture
def tree(loading: Loading) -> Loading:
    for name in ("b.toml", "a.toml", "deep/er/c.toml", ".hidden/d.toml", "deep/.venv/e.toml", ".f.toml"):
        loading.write(f"sims/{name}", SIM.format(name))
    loading.write("sims/lib.toml", LIBRARY)
    loading.write("sims/topos/net.toml", '[[router]]\nname = "dc"\n')
    loading.write("sims/readme.txt", "no sim")
    return loading


def names(tree: Loading, *inputs: str | Path) -> list[str]:
    return [plan.name for plan in load(inputs, cwd=tree.directory).plans]


def complaints(tree: Loading, *inputs: str) -> list[str]:
    with pytest.raises(InputError) as raised:
        load(inputs, cwd=tree.directory)
    return [str(diagnostic) for diagnostic in raised.value.diagnostics]


def test_a_directory_is_searched_to_its_depth_in_order(tree: Loading) -> None:
    assert names(tree, "sims") == ["a.toml", "b.toml", "deep/er/c.toml"]
    assert names(tree, tree.directory / "sims") == names(tree, "sims")


def test_the_order_of_the_command_line_is_kept_and_each_file_is_taken_once(tree: Loading) -> None:
    assert names(tree, "sims/b.toml", "sims", "sims/a.toml") == ["b.toml", "a.toml", "deep/er/c.toml"]


def test_a_hidden_file_can_be_named(tree: Loading) -> None:
    assert names(tree, "sims/.f.toml") == [".f.toml"]


@pytest.mark.parametrize("pattern", ["sims/?.toml", "sims/*.toml", "sims/[ab].toml"])
def test_globs(tree: Loading, pattern: str) -> None:
    assert names(tree, pattern) == ["a.toml", "b.toml"]


def test_a_glob_reaches_down(tree: Loading) -> None:
    assert names(tree, "**/c.toml") == ["deep/er/c.toml"]
    assert names(tree, str(tree.directory / "sims" / "*.toml")) == ["a.toml", "b.toml"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tree: Loading) -> None:
    tree.write("sims/[ab].toml", SIM.format("literal"))
    assert names(tree, "sims/[ab].toml") == ["literal"]


def test_nothing_named(tree: Loading) -> None:
    assert complaints(tree) == ["patchbay: no sim was named; expected sim files, directories or glob patterns"]


def test_every_input_must_bring_a_sim(tree: Loading) -> None:
    tree.write("empty/readme.txt", "")
    assert complaints(tree, "sims", "empty", "sims/topos", "x*.toml") == [
        "empty: there is no TOML file here; expected at least one sim",
        'sims/topos: the only TOML file, "net.toml", has neither [sim] nor [[step]]',
        "x*.toml: there is no TOML file here; expected at least one sim",
    ]


def test_libraries_are_passed_over_unless_they_are_named(tree: Loading) -> None:
    assert complaints(tree, "sims/lib.toml") == [
        "sims/lib.toml: this is a library or a topology: it has neither [sim] nor [[step]]; expected a sim file"
    ]


def test_a_broken_file_in_a_directory_is_told_and_so_are_the_problems_of_others(tree: Loading) -> None:
    tree.write("sims/broken.toml", "[sim\n")
    tree.write("sims/wrong.toml", SIM.format("x").replace("0s", "0"))
    found = complaints(tree, "sims")
    assert [line.split(":")[0] for line in found] == ["sims/broken.toml", "sims/wrong.toml"]


def test_bytes_that_are_no_text(tree: Loading) -> None:
    (tree.directory / "x.toml").write_bytes(b'[sim]\nname = "\xff"\n')
    assert complaints(tree, "x.toml") == ["x.toml:2: byte 14 is not UTF-8; expected a TOML file in UTF-8"]


def test_a_byte_order_mark_and_carriage_returns_are_read_over(tree: Loading) -> None:
    text = SIM.format("windows").replace("\n", "\r\n")
    (tree.directory / "x.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (plan,) = load(["x.toml"], cwd=tree.directory).plans
    assert plan.name == "windows"
    assert plan.steps[0].origin.line == 3


def test_a_file_that_cannot_be_read(tree: Loading) -> None:
    """Not even by root: there is nothing at the first address of a process."""
    assert complaints(tree, "/proc/self/mem") == ["/proc/self/mem: cannot be read: Input/output error"]


def test_names_that_no_file_can_have(tree: Loading) -> None:
    assert complaints(tree, "x" * 300) == ["x" * 300 + ": cannot be read: File name too long"]
    tree.write("sim.toml", f'[sim]\ntopology = "{"x" * 300}"\n[[extends]]\nfile = "{"x" * 300}"\n')
    assert len(complaints(tree, "sim.toml")) == 2


def test_files_are_named_as_seen_from_the_working_directory(tree: Loading) -> None:
    sources = [
        plan.source for plan in load([tree.directory / "sims" / "a.toml"], cwd=tree.directory / "sims" / "deep").plans
    ]
    assert sources == ["../a.toml"]
    sources = [plan.source for plan in load([tree.directory / "sims" / "a.toml"], cwd=Path("/")).plans]
    assert sources == [str(tree.directory / "sims" / "a.toml")]
