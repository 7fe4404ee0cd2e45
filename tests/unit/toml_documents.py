"""TOML documents in every spelling the language has, each with the line of everything in it."""

from __future__ import annotations

import datetime
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

_KEYS = st.one_of(
    st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=6),
    st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\x7f"), max_size=6),
    st.sampled_from(
        ["a.b", 'quo"te', "apo'strophe", "back\\slash", "tab\tin", "#", "[x]", "=", "", "ünï", "1", "true"]
    ),
)
_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=12),
    st.sampled_from(['"', '""', "''", "'", "a\nb", "\n", '"""', "'''", "# no comment", "]", "}", ",", "\\", "a = 1"]),
)
_MOMENTS = st.one_of(
    st.datetimes().map(lambda moment: moment.replace(microsecond=0)),
    st.dates(),
    st.times().map(lambda moment: moment.replace(microsecond=0)),
)
_SCALARS = st.one_of(_TEXTS, st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(), _MOMENTS)
_VALUES = st.recursive(
    _SCALARS,
    lambda children: st.one_of(st.lists(children, max_size=3), st.dictionaries(_KEYS, children, max_size=3)),
    max_leaves=12,
)


@dataclass(frozen=True, slots=True)
class Written:
    """A document: its text, what it means, and the line of every key and element."""

    text: str
    data: dict[str, Any]
    lines: dict[Path, int]


def documents() -> st.SearchStrategy[Written]:
    """Documents of all shapes."""
    data = st.dictionaries(_KEYS, _VALUES, max_size=4)
    return st.builds(_write, data, st.integers(0, 2**32), st.booleans())


def _write(data: dict[str, Any], seed: int, has_crlf: bool) -> Written:
    writer = _Writer(random.Random(seed))
    writer.table((), data)
    text = "".join(writer.pieces)
    return Written(text.replace("\n", "\r\n") if has_crlf else text, data, writer.lines)


@dataclass(slots=True)
class _Writer:
    random: random.Random
    pieces: list[str] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    line: int = 1

    def put(self, text: str) -> None:
        self.pieces.append(text)
        self.line += text.count("\n")

    def chance(self) -> bool:
        return self.random.random() < 0.4

    def blank(self) -> str:
        return self.random.choice(["", " ", "\t", "  "])

    def noise(self) -> None:
        """Blank lines and comments, where whole lines may stand."""
        while self.chance():
            self.put(self.random.choice(["\n", '# a = [ "comment\n', "  \t\n", "#\n"]))

    def end_line(self) -> None:
        self.put(self.blank() + self.random.choice(["\n", "# [comment]\n", "\n\n"]))

    def table(self, path: Path, data: dict[str, Any]) -> None:
        """The pairs of a table, then the tables below it that get headers of their own."""
        later: list[tuple[str, Any]] = []
        for key, value in data.items():
            is_table = isinstance(value, dict)
            is_array = isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
            if (is_table or is_array) and self.chance():
                later.append((key, value))
            else:
                self.noise()
                self.pair(path, key, value)
        for key, value in later:
            self.headed(path, key, value)

    def headed(self, path: Path, key: str, value: Any) -> None:
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.header((*path, key), index)
                self.table((*path, key, index), item)
        else:
            self.header((*path, key), None)
            self.table((*path, key), value)

    def header(self, path: Path, index: int | None) -> None:
        self.noise()
        for length in range(1, len(path)):
            self.lines.setdefault(path[:length], self.line)
        self.lines.setdefault(path, self.line)
        if index is not None:
            self.lines[(*path, index)] = self.line
        names = (f"{self.blank()}.{self.blank()}").join(self.key(part) for part in path if isinstance(part, str))
        opening, closing = ("[", "]") if index is None else ("[[", "]]")
        self.put(f"{self.blank()}{opening}{self.blank()}{names}{self.blank()}{closing}")
        self.end_line()

    def pair(self, path: Path, key: str, value: Any) -> None:
        if isinstance(value, dict) and value and self.chance():
            for inner, item in value.items():
                self.dotted(path, (key, inner), item)
                self.end_line()
            return
        self.dotted(path, (key,), value)
        self.end_line()

    def dotted(self, path: Path, keys: tuple[str, ...], value: Any) -> None:
        """`a.b = value`; the tables on the way have the line of the first key that goes through them."""
        for length in range(1, len(keys)):
            self.lines.setdefault((*path, *keys[:length]), self.line)
        self.lines[(*path, *keys)] = self.line
        names = f"{self.blank()}.{self.blank()}".join(self.key(part) for part in keys)
        self.put(f"{self.blank()}{names}{self.blank()}={self.blank()}")
        self.value((*path, *keys), value)

    def key(self, name: str) -> str:
        is_bare = bool(name) and all(char in string.ascii_letters + string.digits + "-_" for char in name)
        if is_bare and not self.chance():
            return name
        if "'" not in name and all(char == "\t" or ord(char) >= 32 for char in name) and self.chance():
            return f"'{name}'"
        return _basic(name)

    def value(self, path: Path, value: Any) -> None:
        if isinstance(value, list):
            self.array(path, value)
        elif isinstance(value, dict):
            self.inline(path, value)
        else:
            self.put(self.scalar(value))

    def array(self, path: Path, values: list[Any]) -> None:
        self.put("[")
        for index, value in enumerate(values):
            self.gap()
            self.lines[(*path, index)] = self.line
            self.value((*path, index), value)
            self.gap()
            if index + 1 < len(values) or self.chance():
                self.put(",")
        self.gap()
        self.put("]")

    def gap(self) -> None:
        """What may stand between the elements of an array."""
        self.put(self.random.choice(["", "", " ", "\n", '\n  # ] , "\n', "\t"]))

    def inline(self, path: Path, table: dict[str, Any]) -> None:
        self.put("{")
        for index, (key, value) in enumerate(table.items()):
            if index:
                self.put(",")
            if isinstance(value, dict) and len(value) == 1 and self.chance():
                ((inner, item),) = value.items()
                self.dotted(path, (key, inner), item)
            else:
                self.dotted(path, (key,), value)
            self.put(self.blank())
        self.put("}")

    def scalar(self, value: Any) -> str:
        if isinstance(value, str):
            return self.random.choice(list(_spellings(value)))
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, datetime.datetime):
            return value.isoformat(sep=self.random.choice(["T", " ", "t"]), timespec="seconds")
        if isinstance(value, datetime.date | datetime.time):
            return value.isoformat()
        return repr(value)


def _basic(text: str) -> str:
    """JSON's escapes are TOML's, but for the one character that JSON leaves alone."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _spellings(text: str) -> Iterator[str]:
    yield _basic(text)
    is_plain = all(char in "\t\n" or (ord(char) >= 32 and char != "\x7f") for char in text)
    if is_plain and "'" not in text and "\n" not in text:
        yield f"'{text}'"
    if is_plain and "'''" not in text and len(text) - len(text.rstrip("'")) <= 2:
        yield f"'''\n{text}'''"
    if is_plain:
        escaped = text.replace("\\", "\\\\").replace('"""', '""\\"')
        if len(escaped) - len(escaped.rstrip('"')) <= 2:
            yield f'"""\n{escaped}"""'
            yield f'"""\\\n   {escaped.lstrip()}"""' if escaped == escaped.lstrip() else f'"""\n{escaped}"""'
