"""The scanner finds what tomllib finds, at the line where it was written."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given, settings

from patchbay_runner.loader.positions import Place, scan
from tests.unit.toml_documents import Path, Written, documents


def lines_of(place: Place, path: Path = ()) -> dict[Path, int]:
    found: dict[Path, int] = {path: place.line} if path else {}
    children = place.children
    named = children.items() if isinstance(children, dict) else enumerate(children or [])
    for name, child in named:
        found |= lines_of(child, (*path, name))
    return found


def shape(value: Any) -> Any:
    """A document without its scalars."""
    if isinstance(value, Place):
        value = value.children
    if isinstance(value, dict):
        return {key: shape(child) for key, child in value.items()}
    if isinstance(value, list):
        return [shape(child) for child in value]
    return None


@settings(max_examples=400, deadline=None)
@given(documents())
def test_the_scanner_agrees_with_tomllib_and_knows_every_line(written: Written) -> None:
    meant = tomllib.loads(written.text)
    assert meant == written.data  # the generator writes what it says
    place = scan(written.text)
    assert shape(place) == shape(meant)
    assert lines_of(place) == written.lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing", {}),
        ("a = 1\nb = 2", {("a",): 1, ("b",): 2}),
        ('a = """\nx\n"""\nb = 1', {("a",): 1, ("b",): 4}),
        ('a = """"x"""""\nb = 1', {("a",): 1, ("b",): 2}),
        ("a = '''\n'x'''''\nb = 1", {("a",): 1, ("b",): 3}),
        ("a = '''\n'' or 'x' (y)\n'''\nb = 1", {("a",): 1, ("b",): 4}),
        ('a = """\n"" or "x" (y)\n"""\nb = 1', {("a",): 1, ("b",): 4}),
        ('a = "\\""\nb = 1', {("a",): 1, ("b",): 2}),
        ("a = 1979-05-27 07:32:00 # x\nb = 1", {("a",): 1, ("b",): 2}),
        ("[a.b]\nc = 1\n[a]\nd = 1", {("a",): 3, ("a", "b"): 1, ("a", "b", "c"): 2, ("a", "d"): 4}),
        (
            "[[a]]\n[a.b]\n[[a]]\nb.c = 1",
            {("a",): 1, ("a", 0): 1, ("a", 0, "b"): 2, ("a", 1): 3, ("a", 1, "b"): 4, ("a", 1, "b", "c"): 4},
        ),
        ("a = [\n  1, # one\n\n  [\n2]\n]", {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("a", 1, 0): 5}),
        ('"a.b" . c = { d = 1 }', {("a.b",): 1, ("a.b", "c"): 1, ("a.b", "c", "d"): 1}),
    ],
)
def test_places_of_small_documents(text: str, expected: dict[Path, int]) -> None:
    tomllib.loads(text)
    assert lines_of(scan(text)) == expected


def test_carriage_returns_do_not_move_lines() -> None:
    assert lines_of(scan("a = 1\r\n\r\n[b]\r\nc = [\r\n1\r\n]\r\n")) == {
        ("a",): 1,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 5,
    }
