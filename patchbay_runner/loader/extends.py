"""`[[extends]]`: a sim file together with everything that it pulls in.

Files are merged in the order written, deepest first: a later file wins over an earlier one, and a file over those that
it extends. Prepare entries add up.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean
from patchbay_runner.loader.documents import Document, Reader, is_file, toml_names
from patchbay_runner.loader.fields import filled_text, read_table, require, unknown_key
from patchbay_runner.loader.node import Node, describe, items_of, quote, table_of

_LIBRARY_KEYS = (
    "extends", "sim", "binary", "prepare", "step-template", "step-group", "lab", "router", "device", "region", "dns",
)  # fmt: skip
_OF_SIM = ("matrix", "step", "on_failure")
SIM_KEYS = (*_LIBRARY_KEYS, *_OF_SIM)
TOPOLOGY_KEYS = ("router", "device", "region")
# Settings and names are added to those of the topology, wherever it comes from.
TOPOLOGY_FILE_KEYS = ("lab", *TOPOLOGY_KEYS, "dns")
_ARRAYS = ("extends", "binary", "prepare", "step-template", "step-group", "router", "step", "on_failure")


class Definition(msgspec.Struct, frozen=True):
    """A step template or a step group."""

    name: str
    node: Node
    is_group: bool


class Topologies(msgspec.Struct, frozen=True):
    """Where a topology is written: inline tables, or the node of a topology file's name."""

    inline: dict[str, Node] | None = None
    name: Node | None = None
    directories: tuple[Path, ...] = ()


class Source(msgspec.Struct):
    """A sim file and all that it extends, merged; values still hold placeholders."""

    document: Document
    sim: dict[str, Node] = {}
    lab: dict[str, Node] = {}
    matrix: Node | None = None
    definitions: dict[str, Definition] = {}
    binaries: dict[str, Node] = {}
    prepare: list[Node] = []
    topology: Topologies | None = None
    names: list[Node] = []
    steps: tuple[Node, ...] = ()
    on_failure: tuple[Node, ...] = ()


def resolve(document: Document, reader: Reader, report: Report) -> Source:
    """Follows `[[extends]]` of a sim file."""
    source = Source(document)
    _Merger(source, reader, report).merge(document, ())
    source.matrix = document.table.get("matrix")
    source.steps = items_of(document.table.get("step"))
    source.on_failure = items_of(document.table.get("on_failure"))
    return source


class _Merger:
    def __init__(self, source: Source, reader: Reader, report: Report) -> None:
        self._source = source
        self._reader = reader
        self._report = report
        self._prepared: set[Path] = set()

    def merge(self, document: Document, chain: tuple[Path, ...]) -> None:
        chain = (*chain, document.path.resolve())
        _check_sections(document, is_library=len(chain) > 1, report=self._report)
        for entry in items_of(document.table.get("extends")):
            extended = self._open(entry, document, chain)
            if extended is not None:
                self.merge(extended, chain)
        self._add_own(document)

    def _open(self, entry: Node, document: Document, chain: tuple[Path, ...]) -> Document | None:
        values = read_table(entry, {"file": filled_text}, self._report, "an extended file")
        if values is None or not require(entry, values, ("file",), self._report, "[[extends]]"):
            return None
        node = entry.value["file"]
        places = self._places(document)
        path = next((place / values["file"] for place in places if is_file(place / values["file"])), None)
        if path is None:
            _report_missing(node, places, self._reader, self._report)
            return None
        if path.resolve() in chain:
            cycle = [*chain[chain.index(path.resolve()) :], path]
            shown = " -> ".join(self._reader.display(step) for step in cycle)
            self._report.error(node, f"files extend each other in a cycle: {shown}")
            return None
        return self._reader.read(path)

    def _places(self, document: Document) -> list[Path]:
        """Beside the file, one directory up, the working directory; for a file that is extended also beside the sim."""
        own, sim = document.path.parent, self._source.document.path.parent
        return list(dict.fromkeys((own, own / "..", self._reader.cwd, sim, sim / "..")))

    def _add_own(self, document: Document) -> None:
        table = document.table
        self._source.sim |= table_of(table.get("sim"))
        self._source.lab |= table_of(table.get("lab"))
        self._source.binaries |= self._named(table.get("binary"), "binary")
        templates = self._named(table.get("step-template"), "step template")
        groups = self._named(table.get("step-group"), "step group")
        for name in templates.keys() & groups.keys():
            self._report.error(groups[name], f"{quote(name)} is the name of a step template and of a step group")
        self._source.definitions |= {name: Definition(name, node, False) for name, node in templates.items()}
        self._source.definitions |= {name: Definition(name, node, True) for name, node in groups.items()}
        if document.path.resolve() not in self._prepared:
            self._prepared.add(document.path.resolve())
            self._source.prepare += items_of(table.get("prepare"))
        self._take_topology(document)
        if "dns" in table and isinstance(table["dns"].value, dict):
            self._source.names.append(table["dns"])

    def _take_topology(self, document: Document) -> None:
        """A file's own topology replaces that of every file before it."""
        inline = {key: document.table[key] for key in TOPOLOGY_KEYS if key in document.table}
        name = table_of(document.table.get("sim")).get("topology")
        if inline and name is not None:
            first = next(iter(inline.values()))
            self._report.error(name, f"the topology is named here and also written inline at line {first.line}")
        if inline or name is not None:
            beside = document.path.parent
            directories: tuple[Path, ...] = (beside / "topos", beside / ".." / "topos", self._reader.cwd / "topos")
            if self._source.topology is not None and not inline:
                directories += self._source.topology.directories
            self._source.topology = Topologies(inline or None, name, directories)

    def _named(self, array: Node | None, kind: str) -> dict[str, Node]:
        """The tables of an array of tables by their `name`."""
        named: dict[str, Node] = {}
        for entry in items_of(array):
            if "name" not in table_of(entry):
                if isinstance(entry.value, dict):
                    self._report.error(entry, f'a {kind} needs "name"')
                continue
            node = table_of(entry)["name"]
            name = filled_text(node, self._report)
            if name is None:
                continue
            if name in named:
                self._report.error(node, f"there is a {kind} {quote(name)} already, at line {named[name].line}")
            elif any(char in "${}" or char.isspace() for char in name):
                self._report.error(node, f"found {quote(name)}", "a name without blanks, $ and braces")
            else:
                named[name] = entry
        return named


def _check_sections(document: Document, *, is_library: bool, report: Report) -> None:
    if not document.table:
        report.file_error(document.file, "the file is empty", "definitions such as [[binary]] and [[step-template]]")
    for key, node in document.table.items():
        if is_library and key in _OF_SIM:
            written = "[matrix]" if key == "matrix" else f"[[{key}]]"
            report.error(node, f"{written} belongs into the sim file, not into a file that it extends")
        elif key not in SIM_KEYS:
            unknown_key(node, key, _LIBRARY_KEYS if is_library else SIM_KEYS, report)
        else:
            check_section(key, node, report)


def check_section(key: str, node: Node, report: Report) -> None:
    """Arrays of tables must be such, tables must be such."""
    if key not in _ARRAYS:
        if not isinstance(node.value, dict):
            report.error(node, f"found {describe(node)}", f"the table [{key}]")
    elif not isinstance(node.value, tuple):
        report.error(node, f"found {describe(node)}", f"an array of tables, written [[{key}]]")
    else:
        for entry in node.value:
            if not isinstance(entry.value, dict):
                report.error(entry, f"found {describe(entry)}", f"a table, written [[{key}]]")


def _report_missing(node: Node, places: list[Path], reader: Reader, report: Report) -> None:
    name = Path(node.value)
    nearby = toml_names(place / name.parent for place in places)
    searched = ", ".join(dict.fromkeys(reader.display(place.resolve()) for place in places))
    hint = did_you_mean(name.name, nearby)
    report.error(node, f"there is no file {quote(node.value)}{hint}", f"a file below one of: {searched}")
