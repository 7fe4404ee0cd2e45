"""The blocks of code in docs/ and README.md, with the marks that stand before them.

A mark is a comment of HTML, which no reader sees, directly before a block:

    <!-- with            what has to come first for the block to be whole, such as the routers that it speaks of
    <!-- file NAME       a file that the block reads, and its content
    <!-- as NAME         the block is the content of such a file: "patchbay.toml", "other"
    <!-- problems of NAME    the block shows what is wrong with this file, and its content
    <!-- expects: 1 failed, 1 passed    what pytest makes of all the tests of the page
    <!-- output of NAME  the block shows what a command prints about the sim in the block before, which is NAME
    <!-- unchecked: why

In place of its content a file may say `NAME from PATH with "NEW" for "OLD" in line N`: it is a file of this repository
(at NAME, if it does not say from where) with a change (if it tells one).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(
    r'(?P<name>\S+)(?: from (?P<source>\S+))?(?: with "(?P<new>.*)" for "(?P<old>.*)" in line (?P<line>\d+))?'
)
_MARK = re.compile(
    r"<!-- (with|file|as|problems of|output of|expects:|unchecked:) ?([^\n]*?)(?:\n(.*?))?-->\s*\Z", re.DOTALL
)


@dataclass(frozen=True)
class Mark:
    kind: str
    argument: str
    body: str

    @property
    def file(self) -> str:
        """The name of the file that it brings."""
        return self.argument.split()[0]

    @property
    def content(self) -> str:
        """That of the file."""
        if self.body:
            return self.body
        told = _FILE.fullmatch(self.argument)
        assert told is not None, f"{self.argument!r} is not understood"
        lines = (CHECKOUT / (told["source"] or told["name"])).read_text(encoding="utf-8").splitlines()
        if told["line"]:
            at = int(told["line"]) - 1
            assert told["old"] in lines[at], f"line {at + 1} is {lines[at]!r}"
            lines[at] = lines[at].replace(told["old"], told["new"])
        return "\n".join(lines)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    marks: tuple[Mark, ...]

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    def of(self, kind: str) -> list[Mark]:
        return [mark for mark in self.marks if mark.kind == kind]

    @property
    def whole(self) -> str:
        """The block with what has to come first."""
        return "".join(mark.body for mark in self.of("with")) + self.text


def pages() -> list[Path]:
    """All pages with code for readers to use."""
    return [*sorted((CHECKOUT / "docs").rglob("*.md")), CHECKOUT / "README.md"]


def blocks(*languages: str) -> list[Block]:
    """All blocks of some languages; "" is none."""
    return [block for page in pages() for block in read_blocks(page) if block.language in languages]


def checked(*languages: str) -> list[Block]:
    """Those that are not marked as unchecked."""
    return [block for block in blocks(*languages) if not block.of("unchecked:")]


def read_blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        before = text[: found.start()]
        inside = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        line = before.count("\n") + 1
        yield Block(str(page.relative_to(CHECKOUT)), line, found["language"], inside, tuple(_marks(before)))


def _marks(before: str) -> list[Mark]:
    """The marks at the end of what stands before a block, in their order."""
    marks: list[Mark] = []
    while found := _MARK.search(_last_comment(before)):
        marks.insert(0, Mark(found[1], found[2].strip(), found[3] or ""))
        before = before[: before.rindex("<!--")]
    return marks


def _last_comment(text: str) -> str:
    """From the last comment on, when nothing but blanks follows it."""
    start = text.rfind("<!--")
    return text[start:] if start >= 0 else ""
