"""Every command of `patchbay-vm` is described, with all its options, and every variable stands in the guide."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from patchbay_runner.cli.vm.main import COMMANDS, patchbay_vm
from patchbay_runner.vm import settings


def pages_of(checkout: Path, command: str) -> str:
    """The page of all commands, and the command's own where it has one."""
    own = checkout / "docs" / "commands" / f"patchbay-vm-{command}.md"
    common = (checkout / "docs" / "commands" / "patchbay-vm.md").read_text()
    return common + own.read_text() if own.exists() else common


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_describes_the_command_and_its_options(checkout: Path, command: str) -> None:
    found = patchbay_vm.get_command(click.Context(patchbay_vm), command)
    assert found is not None
    page = pages_of(checkout, command)
    assert f"\n## {command}\n" in page or f"# patchbay-vm {command}\n" in page
    parameters = [each for each in found.params if isinstance(each, click.Option) and not each.hidden]
    options = [option for parameter in parameters for option in (*parameter.opts, *parameter.secondary_opts)]
    assert [option for option in options if f"`{option}" not in page] == []


def test_the_guide_names_every_variable_and_every_key(checkout: Path) -> None:
    guide = (checkout / "docs" / "guide" / "vm.md").read_text()
    names = [*settings._TEXTS, *settings._INTEGERS, *settings._CHOICES]
    assert [name for name in names if f"`{name}`" not in guide] == []
