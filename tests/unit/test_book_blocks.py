"""What docs/ and README.md show is right: TOML loads, problems are told so, commands and options exist.

Python is run by tests/netns/test_book_programs.py, YAML read by test_ci_files.py. tests/book_blocks.py tells the marks.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from patchbay_runner.cli.main import COMMANDS, INNER_COMMANDS, patchbay
from patchbay_runner.cli.patchbay_serve import patchbay_serve
from patchbay_runner.errors import InputError
from patchbay_runner.loader import load
from patchbay_runner.loader.project import read_project
from tests.book_blocks import CHECKOUT, Block, blocks, checked, pages

TOML = checked("toml")
PROBLEMS = [
    block for block in checked("", "text", "console") if re.search(r"^\S+\.toml:\d+: ", block.text, re.MULTILINE)
]
CODE = checked("", "sh", "bash", "console")


def names(found: list[Block]) -> list[str]:
    return [block.name for block in found]


@pytest.mark.parametrize("block", TOML, ids=names(TOML))
def test_toml_is_valid(block: Block, tmp_path: Path) -> None:
    for mark in block.of("file"):
        write(tmp_path / mark.file, mark.body)
    (kind,) = [mark.argument for mark in block.of("as")] or ["sim"]
    if kind == "patchbay.toml":
        write(tmp_path / kind, block.whole)
        read_project(tmp_path, tmp_path)
    elif kind == "other":
        tomllib.loads(block.whole)
    else:
        text = block.whole
        if not re.search(r"^\[sim\]|^\[\[step\]\]", text, re.MULTILINE):
            text = f"[sim]\n{text}"
        write(tmp_path / "sims" / "example.toml", text)
        assert load(["sims/example.toml"], cwd=tmp_path).plans


@pytest.mark.parametrize("block", PROBLEMS, ids=names(PROBLEMS))
def test_problems_are_told_as_pages_show_them(block: Block, tmp_path: Path) -> None:
    sources = block.of("problems of")
    assert sources, (
        f"{block.name} shows problems and not of what: put <!-- problems of FILE, its content, --> before it"
    )
    for mark in [*sources, *block.of("file")]:
        write(tmp_path / mark.file, mark.content)
    with pytest.raises(InputError) as raised:
        load([mark.file for mark in sources], cwd=tmp_path)
    told = str(raised.value).splitlines()
    shown = [line for line in block.text.splitlines() if re.match(r"\S+\.toml:\d+: ", line)]
    assert [whole if line == cut(whole, line) else line for whole, line in zip(told, shown, strict=True)] == told


def test_every_sim_or_program_is_checked_or_says_why_not() -> None:
    left_out = [block for block in blocks("toml", "python", "", "sh", "console", "text") if block.of("unchecked:")]
    assert [block.name for block in left_out if len(block.of("unchecked:")[0].argument.split()) < 4] == []
    assert len(left_out) <= 6


_TYPED = re.compile(r"(?:^(?:\$ )?(?:\w+=\S+ )*|[|&(] ?)(?:\S*/bin/)?(patchbay(?:-serve)? [^|;&)#`]*)")


def used_commands() -> Iterator[tuple[str, str]]:
    """Where a page has someone type `patchbay` or `patchbay-serve`, and what: in blocks, and in the midst of text."""
    for block in CODE:
        for line in block.text.replace("\\\n", " ").splitlines():
            yield from ((block.name, found[1]) for found in _TYPED.finditer(line))
    for page in pages():
        for code in inline_code(page):
            if found := _TYPED.match(code):
                yield str(page.relative_to(CHECKOUT)), found[1]


def inline_code(page: Path) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", text)


USES = sorted(set(used_commands()))


def test_commands_are_found_in_pages() -> None:
    assert len(USES) > 50


@pytest.mark.parametrize("use", USES, ids=[f"{place} {what}"[:90] for place, what in USES])
def test_commands_and_options_that_pages_use_exist(use: tuple[str, str]) -> None:
    program, *words = split(use[1])
    command: click.Command | None = patchbay_serve
    if program == "patchbay":
        if not words or not re.fullmatch(r"[a-z-]+", words[0]):
            return  # it speaks of the program, or draws it
        if words[0].startswith("-"):
            command = patchbay
        elif words[0] in COMMANDS:
            command = patchbay.get_command(click.Context(patchbay, **patchbay.context_settings), words[0])
        else:
            pytest.fail(f"there is no command {words[0]} (nor {INNER_COMMANDS})")
    assert command is not None
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}
    own = words[: words.index("--")] if "--" in words else words
    options = [word.partition("=")[0] for word in own if re.match(r"--?[a-z]", word)]
    assert [option for option in options if option not in known] == []


def test_targets_of_make_that_pages_use_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    typed = [(page.name, code) for page in pages() for code in inline_code(page)]
    typed += [(block.name, line.removeprefix("$ ")) for block in CODE for line in block.text.splitlines()]
    used = [(where, found[1]) for where, code in typed if (found := re.match(r"make ([a-z-]+)", code))]
    assert len(used) > 5
    assert [use for use in used if use[1] not in targets] == []


def split(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # an apostrophe of the comment behind it
        return line.split()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cut(whole: str, shown: str) -> str:
    """As much of a line as is shown, when it ends in an ellipsis."""
    return f"{whole[: len(shown) - 1]}…" if shown.endswith("…") else whole
