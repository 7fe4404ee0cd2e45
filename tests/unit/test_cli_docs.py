"""Every command has a page that names all its options, and the reference of the command line leads to it."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from patchbay_runner.cli.main import COMMANDS, patchbay


def page_of(checkout: Path, command: str) -> str:
    return (checkout / "docs" / "commands" / f"{command}.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_describes_the_command(checkout: Path, command: str) -> None:
    assert page_of(checkout, command).startswith(f"# patchbay {command}")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_names_every_option(checkout: Path, command: str) -> None:
    found = patchbay.get_command(click.Context(patchbay), command)
    assert found is not None
    parameters = [each for each in found.params if isinstance(each, click.Option) and not each.hidden]
    options = [option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)]
    page = page_of(checkout, command)
    assert [option for option in options if f"`{option}" not in page] == []


def test_the_reference_of_the_command_line_leads_to_every_page(checkout: Path) -> None:
    reference = (checkout / "docs" / "reference" / "cli.md").read_text()
    assert [command for command in COMMANDS if f"](../commands/{command}.md)" not in reference] == []
