"""The reference is that of the code: what is generated in docs/ is as it would be now, and nothing is left out."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from book.commands import commands_table, options_table
from book.reference import BLOCKS, STEP, TABLES, filled_in, names_in
from book.tables import actions_table, keys_table, table
from book.words import words
from patchbay_runner import errors, library
from patchbay_runner.cli import main
from patchbay_runner.loader.fields import array, boolean, duration, integer, number, text
from patchbay_runner.loader.jsonschemas import sim_schema
from patchbay_runner.loader.shapes import Key, described, shape_of
from patchbay_runner.loader.steps.keys import ACTION_FIELDS
from patchbay_runner.loader.steps.schema import ACTIONS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
EVERY_KEY = {f"{name}: {key}": value for name, (fields, _) in TABLES.items() for key, value in fields.items()}
EVERY_KEY |= {f"step: {key}": value for key, value in (STEP | ACTION_FIELDS).items()}


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_of_the_code_is_what_the_code_says(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    assert filled_in(text) == text, "make reference brings it up to date"


def test_everything_that_can_be_generated_is_in_the_book_once() -> None:
    shown = Counter(name for page in PAGES for name in names_in((DOCS / page).read_text(encoding="utf-8")))
    actions = Counter(action for name in shown for action in name.split()[1:] if name.startswith("actions "))
    assert actions == Counter(list(ACTIONS))
    tables = Counter({name: count for name, count in shown.items() if not name.startswith(("actions ", "options "))})
    assert tables == Counter([*BLOCKS, *(f"keys {name}" for name in TABLES)])


def test_options_stand_in_the_page_of_their_command() -> None:
    shown = [(page, name) for page in PAGES for name in names_in((DOCS / page).read_text(encoding="utf-8"))]
    commands = [(page, name.split()[1]) for page, name in shown if name.startswith("options ")]
    assert len(commands) > 10
    assert [(page, name) for page, name in commands if page != f"commands/{name}.md"] == []


def test_every_exit_code_is_in_the_book() -> None:
    text = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8").partition("## Exit codes")[2]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    raised = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    own = {value for name, value in vars(main).items() if name.startswith("EXIT_")}
    assert raised | own | {0} <= documented


def test_help_is_told_as_markdown() -> None:
    table = options_table("run")
    assert "| `-j`, `--jobs N or auto` | " in table
    assert "| `--fail-fast`, `--keep-going` | " in table
    assert "`[[prepare]]` is passed over" in table
    assert table.count("|") == 3 * len(table.splitlines())


def test_commands_are_told_with_what_they_take() -> None:
    assert "| [`patchbay push DIR`](../commands/push.md) | Sends the run in DIR" in commands_table()


@pytest.mark.parametrize("name", EVERY_KEY)
def test_every_key_says_what_it_means(name: str) -> None:
    key = EVERY_KEY[name]
    assert isinstance(key, Key), f"{name} is read by {key}, and nobody says what it means"
    assert len(key.meaning.split()) > 1
    assert not key.meaning.endswith(".")


def test_the_schema_tells_editors_the_same() -> None:
    """Of every key at every depth that the loader has a converter for."""
    router = sim_schema()["properties"]["router"]["items"]["properties"]
    assert router["mtu"]["description"] == (
        "Of the router's links, in bytes; at least 1280 where it carries IPv6. Default: the kernel's 1500."
    )
    assert router["downlink"]["description"] == "Another name of downlink_condition."
    steps = sim_schema()["$defs"]["step"]["properties"]
    assert [name for name, shape in steps.items() if "description" not in shape] == []


@pytest.mark.parametrize(
    ("convert", "told"),
    [
        (text, "string"),
        (boolean, "boolean"),
        (duration, "duration"),
        (integer(1, 65_535), "integer, 1 to 65,535"),
        (integer(0, 2**63), "integer, 0 or more"),
        (number(0, 100), "number, 0 to 100"),
        (array(text, "strings"), "array of strings"),
        (array(integer(1, 9), "digits"), "array of integers, 1 to 9"),
    ],
)
def test_types_are_told_in_words(convert: Key, told: str) -> None:
    assert words(shape_of(convert)) == told


def test_a_table_of_keys() -> None:
    port = described(integer(1, 9), "where it listens", "8")
    fields = {"name": described(text, "what it is called"), "port": port, "door": port.alias_of("port")}
    assert keys_table(fields, ["name"]) == (
        "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
        "| `name` | string | required | what it is called |\n"
        "| `port`, `door` | integer, 1 to 9 | 8 | where it listens |"
    )


def test_columns_that_say_nothing_are_left_out() -> None:
    assert table(("a", "b"), [("1", ""), ("2", "")]) == "| a |\n| --- |\n| 1 |\n| 2 |"


def test_a_key_that_several_actions_have_stands_once() -> None:
    rows = actions_table(["stop", "restart"]).splitlines()
    assert [row.split(" | ")[0] for row in rows if "`grace`" in row] == ["| "]
    assert [row.split(" | ")[0] for row in rows if "`expect_exit`" in row] == ["| `stop`"]


def test_everything_that_the_package_exports_is_in_the_book() -> None:
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    shown = {*re.findall(r"^::: patchbay_runner\.library\.(\w+)$", page, re.MULTILINE), *re.findall(r"`(\w+)`", page)}
    assert [name for name in library.__all__ if name not in shown] == []
