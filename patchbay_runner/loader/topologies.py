"""The topology of a variant: inline tables, or a file that `[sim] topology` names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean
from patchbay_runner.loader.documents import Document, Reader, is_file, toml_names
from patchbay_runner.loader.extends import TOPOLOGY_FILE_KEYS, Source, check_section
from patchbay_runner.loader.fields import unknown_key
from patchbay_runner.loader.network import Network
from patchbay_runner.loader.networkchecks import check_network
from patchbay_runner.loader.node import Node, quote, table_of
from patchbay_runner.loader.substitute import PerValues, mentions, substitute
from patchbay_runner.loader.topology import read_topology

# Names come from several files.
_TABLES = frozenset(TOPOLOGY_FILE_KEYS) - {"dns"}


class Located(msgspec.Struct, frozen=True):
    """A variant's network, and the name of its topology file where it has one."""

    network: Network
    name: str | None
    report: Report | None


class TopologyFinder:
    """Finds, reads and checks the topologies of a sim file."""

    def __init__(self, source: Source, reader: Reader) -> None:
        self._topology = source.topology
        self._lab = source.lab
        self._names = tuple(source.names)
        self._reader = reader
        self._files: dict[Path, PerValues[Located]] = {}
        self._fixed: PerValues[Located] | None = None
        named = frozenset[str]()
        if self._topology is None:
            self._fixed = _networks(self._with_settings({}), self._names)
        elif self._topology.inline is not None:
            self._fixed = _networks(self._with_settings(self._topology.inline), self._names)
        elif self._topology.name is not None:
            named = mentions(self._topology.name, "matrix")
        self._opened = PerValues(named, self._open)

    def at(self, values: Mapping[str, str]) -> Located:
        return (self._fixed or self._opened.at(values)).at(values)

    def _open(self, values: Mapping[str, str]) -> PerValues[Located]:
        """The networks of the file that the name means with these values."""
        assert self._topology is not None and self._topology.name is not None
        report = Report()
        node = substitute(self._topology.name, "matrix", values, Report())  # [sim] reports what is undefined
        document = self._find(node, report) if isinstance(node.value, str) and node.value.strip() else None
        if document is None:
            missing = Located(Network(is_open=True), None, report.or_none())
            return PerValues(frozenset(), lambda _: missing)
        path = document.path.resolve()
        if path not in self._files:
            own = document.table.get("dns")
            names = self._names if own is None or not isinstance(own.value, dict) else (own, *self._names)
            self._files[path] = _networks(self._with_settings(document.table), names, document, node.value)
        return self._files[path]

    def _with_settings(self, tables: Mapping[str, Node]) -> Mapping[str, Node]:
        """The sim's own `[lab]` keys win over those of its topology file."""
        if not self._lab:
            return tables
        written = next(iter(self._lab.values()))
        table = Node(table_of(tables.get("lab")) | self._lab, written.file, written.line, "lab")
        return {**tables, "lab": table}

    def _find(self, node: Node, report: Report) -> Document | None:
        assert self._topology is not None
        name = node.value if node.value.endswith(".toml") else f"{node.value}.toml"
        directories = list(dict.fromkeys(directory.resolve() for directory in self._topology.directories))
        for directory in directories:
            if is_file(directory / name):
                return self._reader.read(directory / name)
        available = {file.removesuffix(".toml") for file in toml_names(directories)}
        searched = ", ".join(self._reader.display(directory) for directory in directories)
        hint = did_you_mean(node.value, available)
        report.error(node, f"there is no topology {quote(node.value)}{hint}", f"{quote(name)} in one of: {searched}")
        return None


def _networks(
    tables: Mapping[str, Node], names: Sequence[Node], document: Document | None = None, name: str | None = None
) -> PerValues[Located]:
    keys: frozenset[str] = frozenset().union(*(mentions(node, "matrix") for node in (*tables.values(), *names)))

    def read(values: Mapping[str, str]) -> Located:
        report = Report()
        if document is not None:
            _check_file(document, report)
        replaced = {key: substitute(node, "matrix", values, report) for key, node in tables.items() if key in _TABLES}
        entries = [substitute(node, "matrix", values, report) for node in names]
        return Located(check_network(read_topology(replaced, report, entries), report), name, report.or_none())

    return PerValues(keys, read)


def _check_file(document: Document, report: Report) -> None:
    """A topology file holds a topology and nothing else."""
    for key, node in document.table.items():
        if key not in TOPOLOGY_FILE_KEYS:
            unknown_key(node, key, TOPOLOGY_FILE_KEYS, report)
        else:
            check_section(key, node, report)
    if not document.table:
        report.file_error(document.file, "the file is empty", "a topology with [[router]] and [device.*]")
