"""Where in a TOML text every key and every array element stands.

tomllib says what a document means but not where; this scanner says where. It reads only texts that tomllib has
accepted, so it checks nothing: it follows the grammar far enough to know keys, arrays, inline tables and the extent of
scalars.
"""

from __future__ import annotations

import re
import tomllib

import msgspec

_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
# A multi-line string may hold one or two of its quotes in a row, also right before the three that end it.
# No possessive quantifiers: around a group they match wrongly before CPython 3.11.5, and Debian 12 has 3.11.2.
_STRING = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"{1,2}(?!"))[^"\\]*)*"""(?:"{0,2})'
    r"|'{3}[^']*(?:'{1,2}(?!')[^']*)*'{3}(?:'{0,2})"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
# A date and its time may be separated by a space.
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]+|[^\s,\]}#]+")


class Place(msgspec.Struct):
    """The line (from 1) of a value, and the places of what it contains."""

    line: int
    children: dict[str, Place] | list[Place] | None = None
    implicit: bool = False

    def table(self) -> dict[str, Place]:
        """The children of the table, or of the newest table of an array of tables."""
        holder = self
        while isinstance(holder.children, list):
            holder = holder.children[-1]
        assert holder.children is not None
        return holder.children


def scan(text: str) -> Place:
    """The places of a document that tomllib accepts."""
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1

    def document(self) -> Place:
        root = Place(1, {})
        table = root
        self.skip()
        while self.at < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header(root)
            else:
                self.pair(table)
            self.skip()
        return root

    def header(self, root: Place) -> Place:
        line = self.line
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        *parents, last = self.key()
        self.at += 2 if is_array else 1
        siblings = _descend(root, parents, line).table()
        if is_array:
            array = siblings.setdefault(last, Place(line, []))
            assert isinstance(array.children, list)
            array.children.append(Place(line, {}))
            return array
        table = siblings.setdefault(last, Place(line, {}))
        if table.implicit:
            table.line, table.implicit = line, False
        return table

    def pair(self, table: Place) -> None:
        line = self.line
        *parents, last = self.key()
        self.at += 1  # the equals sign
        self.skip()
        value = self.value()
        value.line = line
        _descend(table, parents, line).table()[last] = value

    def key(self) -> list[str]:
        """A dotted key; afterwards the scanner stands on what follows it (an equals sign or a bracket)."""
        parts = []
        while True:
            self.skip()
            parts.append(self.key_part())
            self.skip()
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def key_part(self) -> str:
        bare = _BARE_KEY.match(self.text, self.at)
        if bare is not None:
            self.at = bare.end()
            return bare[0]
        quoted = self.consume(_STRING)
        part: str = tomllib.loads(f"key = {quoted}")["key"]
        return part

    def value(self) -> Place:
        line = self.line
        first = self.text[self.at]
        if first == "[":
            return self.array(line)
        if first == "{":
            return self.inline_table(line)
        self.consume(_STRING if first in "\"'" else _SCALAR)
        return Place(line)

    def array(self, line: int) -> Place:
        children: list[Place] = []
        self.at += 1
        while not self.closes("]"):
            children.append(self.value())
        return Place(line, children)

    def inline_table(self, line: int) -> Place:
        table = Place(line, {})
        self.at += 1
        while not self.closes("}"):
            self.pair(table)
        return table

    def closes(self, bracket: str) -> bool:
        """Skips to the next element; True when there is none and the bracket is consumed."""
        self.skip()
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip()
        if not self.text.startswith(bracket, self.at):
            return False
        self.at += 1
        return True

    def skip(self) -> None:
        self.consume(_SPACE)

    def consume(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        assert found is not None, f"tomllib accepted what this scanner cannot read at offset {self.at}"
        self.line += self.text.count("\n", self.at, found.end())
        self.at = found.end()
        return found[0]


def _descend(table: Place, parents: list[str], line: int) -> Place:
    for part in parents:
        table = table.table().setdefault(part, Place(line, {}, implicit=True))
    return table
