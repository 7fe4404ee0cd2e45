"""The loader's pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from patchbay_runner.errors import Diagnostic, InputError
from patchbay_runner.loader.assemble import assemble
from patchbay_runner.loader.diagnostics import Report
from patchbay_runner.loader.discover import discover, find_one
from patchbay_runner.loader.documents import Document, Reader
from patchbay_runner.loader.extends import resolve
from patchbay_runner.model.plan import Plan


class Loaded(msgspec.Struct, frozen=True):
    """The plans in the order of the inputs and of each file's matrix, and what is odd but not wrong.

    `files` are all that were read for them.
    """

    plans: tuple[Plan, ...]
    warnings: tuple[Diagnostic, ...]
    files: tuple[Path, ...] = ()


def load(inputs: Sequence[Path | str], *, cwd: Path) -> Loaded:
    """Reads sim files, directories and glob patterns to plans.

    Relative inputs, `extends` and topologies are looked up in `cwd` where they are not beside the sim. Raises
    InputError with every problem of every file, sorted by file and line.
    """
    report = Report()
    reader = Reader(cwd, report)
    return _load(discover(inputs, reader, report), reader, report)


def load_network(path: Path, *, cwd: Path) -> Loaded:
    """Reads one sim or topology file, which becomes a sim without steps. Raises InputError as `load` does."""
    report = Report()
    reader = Reader(cwd, report)
    return _load(find_one(path, reader, report), reader, report)


def _load(documents: Sequence[Document], reader: Reader, report: Report) -> Loaded:
    sources = [resolve(document, reader, report) for document in documents]
    plans = [plan for source in sources for plan in assemble(source, reader, report)]
    if report.errors:
        raise InputError(sorted(set(report.errors)))
    return Loaded(tuple(plans), tuple(sorted(set(report.warnings))), reader.files())
