"""docs/reference/output.md names every field of every document, and every kind of event."""

import re
from pathlib import Path

import msgspec
import pytest

from patchbay_runner.results import documents

RECORDS = [
    kind
    for kind in vars(documents).values()
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__module__ == documents.__name__
]


@pytest.fixture(scope="module")
def named(checkout: Path) -> set[str]:
    return set(re.findall(r"[`\"](\w+)[`\"]", (checkout / "docs" / "reference" / "output.md").read_text()))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
def test_every_field_is_documented(record: type[msgspec.Struct], named: set[str]) -> None:
    assert {field.name for field in msgspec.structs.fields(record)} - named == set()


def test_every_status_is_documented(named: set[str]) -> None:
    values = {status.value for kind in (documents.Status, documents.RunStatus) for status in kind}
    assert values - named == set()


def test_every_kind_of_event_is_documented(checkout: Path, named: set[str]) -> None:
    sources = [path.read_text() for path in (checkout / "patchbay_runner").rglob("*.py")]
    emitted = {kind for text in sources for kind in re.findall(r"emit\(\s*\"(\w+)\"", text)}
    assert len(emitted) > 10
    assert emitted - named == set()
