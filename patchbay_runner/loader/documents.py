"""Reading TOML files into nodes that know their place."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from patchbay_runner.errors import Diagnostic
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.node import Node, join_key
from patchbay_runner.loader.positions import Place, scan

# tomllib only puts the place into the text of its errors.
_TOML_ERROR = re.compile(
    r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL
)
_FRIENDLY = {
    "Cannot overwrite a value": "this key has a value already",
    "Invalid value": "there is no TOML value here; text needs quotes",
    "Invalid statement": 'this is neither a "key = value" line nor a [table] header',
    "Unclosed array": "an array is not closed with ]",
    "Unclosed inline table": "an inline table is not closed with } on its line",
    "Unterminated string": "a string is not closed",
    "Expected '=' after a key in a key/value pair": 'a key is not followed by "="',
    "Expected newline or end of document after a statement": "there is more text after a complete value",
    "Unescaped '\\' in a string": "an unknown escape in a string; write \\\\ for a backslash or use single quotes",
}
_TWICE = re.compile(r"Cannot declare \((?P<parts>.*)\) twice")


class Document(msgspec.Struct, frozen=True):
    """A file that was read. `file` is its name in messages."""

    path: Path
    file: str
    root: Node

    @property
    def table(self) -> dict[str, Node]:
        table: dict[str, Node] = self.root.value
        return table


class Reader:
    """Reads every file once, and reports what is wrong with it once."""

    def __init__(self, cwd: Path, report: Report) -> None:
        self.cwd = cwd
        self._report = report
        self._documents: dict[Path, Document | None] = {}

    def display(self, path: Path) -> str:
        """The name of a file in messages: relative when it is in or beside the working directory."""
        found, cwd = path.resolve(), self.cwd.resolve()
        near = found.is_relative_to(cwd.parent) and cwd.parent != Path(cwd.root)
        return os.path.relpath(found, cwd) if near else str(path)

    def read(self, path: Path) -> Document | None:
        """The document, or None when it cannot be read (which is reported)."""
        key = path.resolve()
        if key not in self._documents:
            self._documents[key] = self._read(path)
        return self._documents[key]

    def files(self) -> tuple[Path, ...]:
        """Every file that was read, by the path that led to it."""
        return tuple(self.cwd / document.path for document in self._documents.values() if document)

    def _read(self, path: Path) -> Document | None:
        file = self.display(path)
        try:
            text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
            data = tomllib.loads(text)
            root = _locate(data, scan(text), file, "")
        except tomllib.TOMLDecodeError as error:
            self._report.errors.append(_toml_error(error, file, text))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            self._report.file_error(file, f"byte {error.start} is not UTF-8", "a TOML file in UTF-8", line)
        except RecursionError:
            self._report.file_error(file, "arrays or tables are nested too deeply")
        except OSError as error:
            self._report.file_error(file, f"cannot be read: {error.strerror}")
        else:
            return self._checked(Document(path, file, root))
        return None

    def _checked(self, document: Document) -> Document | None:
        before = len(self._report.errors)
        _check_numbers(document.root, self._report)
        return document if len(self._report.errors) == before else None


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def toml_names(directories: Iterable[Path]) -> set[str]:
    """The TOML files in directories, as far as these can be read; for hints."""
    names: set[str] = set()
    for directory in directories:
        with suppress(OSError):
            names.update(path.name for path in directory.glob("*.toml"))
    return names


def _locate(value: Any, place: Place, file: str, key: str) -> Node:
    children = place.children
    if isinstance(value, dict):
        assert isinstance(children, dict)
        table = {name: _locate(item, children[name], file, join_key(key, name)) for name, item in value.items()}
        return Node(table, file, place.line, key, all(child.is_fixed for child in table.values()))
    if isinstance(value, list):
        assert isinstance(children, list)
        array = tuple(_locate(item, children[index], file, f"{key}[{index}]") for index, item in enumerate(value))
        return Node(array, file, place.line, key, all(child.is_fixed for child in array))
    return Node(value, file, place.line, key, not isinstance(value, str) or "${" not in value)


def _check_numbers(node: Node, report: Report) -> None:
    """TOML's integers have 64 bits, and a plan has no use for infinities; Python reads both."""
    value = node.value
    if isinstance(value, dict):
        for child in value.values():
            _check_numbers(child, report)
    elif isinstance(value, tuple):
        for child in value:
            _check_numbers(child, report)
    elif isinstance(value, float) and not math.isfinite(value):
        report.error(node, f"found {value}", "a finite number")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        report.error(node, "the integer does not fit 64 bits")


def _toml_error(error: tomllib.TOMLDecodeError, file: str, text: str) -> Diagnostic:
    found = _TOML_ERROR.fullmatch(str(error))
    if found is None:
        return Diagnostic(file, 0, "", f"not valid TOML: {error}")
    if found["line"] is None:
        line = text.rstrip("\n").count("\n") + 1
        return Diagnostic(file, line, "", "not valid TOML: the file ends in the middle of a value or a header")
    message = f"not valid TOML: {_friendly(found['what'])} (column {found['column']})"
    return Diagnostic(file, int(found["line"]), "", message)


def _friendly(what: str) -> str:
    twice = _TWICE.fullmatch(what)
    if twice is not None:
        return f"the table [{'.'.join(re.findall(chr(39) + '(.*?)' + chr(39), twice['parts']))}] is declared already"
    if what == "Illegal character '\\n'":
        return "a string or a key is not closed on its line"
    return _FRIENDLY.get(what, what[:1].lower() + what[1:])
