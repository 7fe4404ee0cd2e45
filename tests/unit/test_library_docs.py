"""Every public member of the library says what it does, and shows it."""

import re
from pathlib import Path

import pytest

from tests.library_members import examples, fixtures, members

DOCUMENTED = {**members(), **{f"the fixture {name}": text for name, text in fixtures().items()}}


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_member_has_a_sentence_and_an_example(name: str) -> None:
    text = DOCUMENTED[name]
    assert re.match(r"[A-Z].*?[.:]", text, re.DOTALL), "it says nothing"
    assert "\nExamples:\n    >>> " in text, "it has no examples in the form that the reference shows"
    assert examples(name, text)


def test_members_are_found() -> None:
    assert DOCUMENTED.keys() >= {"Lab", "Lab.load", "Node.run", "Router.set_nat", "Device.replug", "Popen.wait"}
    assert "Lab.__enter__" not in DOCUMENTED


def test_every_fixture_of_the_plugin_is_listed(checkout: Path) -> None:
    source = (checkout / "patchbay_runner/library/pytest_plugin.py").read_text()
    defined = re.findall(r"^@pytest\.fixture.*\ndef ([a-z]\w*)\(", source, re.MULTILINE)
    assert sorted(defined) == sorted(fixtures())
