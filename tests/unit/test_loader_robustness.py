"""Whatever is written, the loader answers with plans or with diagnostics, never with a crash."""

from __future__ import annotations

import copy
import random
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbay_runner.errors import InputError
from patchbay_runner.loader import load

GOLDEN = Path(__file__).parents[1] / "golden" / "plans"
FILES = sorted(GOLDEN.rglob("*.toml"))
DOCUMENTS = [tomllib.loads(path.read_text(encoding="utf-8")) for path in FILES]
ODD: list[Any] = [
    "",
    "x",
    "${matrix.a}",
    "${group.a}",
    "${a.b}",
    "$NETSIM_IP_x",
    "ix",
    "a" * 300,
    "\0",
    "²",
    "9" * 400,
    "$.`sub(/(/, x)`",
    -1,
    0,
    1.5,
    True,
]
ODD += [[], {}, [[]], [{}], {"name": {}}, 2**70, float("nan")]


def containers(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    found = [value] if isinstance(value, dict | list) else []
    return found + [container for child in children for container in containers(child)]


def parts(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] + [part for child in children for part in parts(child)]


KEYS = sorted(
    {key for document in DOCUMENTS for holder in containers(document) for key in holder if isinstance(key, str)}
)
PARTS = [part for document in DOCUMENTS for part in parts(document)] + ODD * 10


def disturbed(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """The document with a few values replaced, added or taken away."""
    document = copy.deepcopy(document)
    for _ in range(chance.randint(1, 3)):
        holder = chance.choice(containers(document))
        is_table = isinstance(holder, dict)
        places: list[Any] = list(holder) if is_table else list(range(len(holder)))
        if places and chance.random() < 0.3:
            del holder[chance.choice(places)]
        elif places and chance.random() < 0.6:
            holder[chance.choice(places)] = copy.deepcopy(chance.choice(PARTS))
        elif is_table:
            holder[chance.choice(KEYS)] = copy.deepcopy(chance.choice(PARTS))
        else:
            holder.append(copy.deepcopy(chance.choice(PARTS)))
    return document


def load_or_explain(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "sim.toml")
        path.write_bytes(content)
        try:
            load([path], cwd=Path(directory))
        except InputError as error:
            assert error.diagnostics
            assert str(error)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**64))
def test_disturbed_documents(seed: int) -> None:
    chance = random.Random(seed)
    load_or_explain(tomli_w.dumps(disturbed(chance.choice(DOCUMENTS), chance)).encode())


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**64))
def test_disturbed_text(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(chance.choice(FILES).read_bytes())
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) + 1)
        pieces = [
            b'"',
            b"'",
            b"[",
            b"]",
            b"{",
            b"}",
            b'"""',
            b"=",
            b".",
            b"#",
            b"\\",
            b"\xff",
            b"\0",
            b"${matrix.",
            b"",
        ]
        content[start : start + chance.choice([0, 1, 3, 20])] = chance.choice(pieces)
    load_or_explain(bytes(content))


@pytest.mark.parametrize("depth", [50, 900, 5_000])
def test_deep_nesting(depth: int) -> None:
    load_or_explain(b"[sim]\n[[step]]\ncmd = " + b"[" * depth + b"]" * depth)
    load_or_explain(b"[sim]\n[[step]]\n" + b"a." * depth + b"a = 1")
