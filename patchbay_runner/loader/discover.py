"""From what the command line names to the sim files it means, in the order given."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from patchbay_runner.loader.diagnostics import Report, did_you_mean
from patchbay_runner.loader.documents import Document, Reader
from patchbay_runner.loader.node import quote


class _Found(msgspec.Struct, frozen=True):
    """The files that one input brings; `named` when it names a single file itself."""

    files: tuple[Path, ...]
    named: bool


def discover(inputs: Sequence[Path | str], reader: Reader, report: Report) -> list[Document]:
    """The sim documents of all inputs, each file once."""
    if not inputs:
        report.file_error("patchbay", "no sim was named", "sim files, directories or glob patterns")
    sims: dict[Path, Document] = {}
    for given in inputs:
        found = _find(str(given), reader.cwd, report)
        if found is None:
            continue
        documents = [(path, reader.read(path)) for path in found.files]
        good = {path.resolve(): document for path, document in documents if document is not None and is_sim(document)}
        for path, document in documents:
            if document is not None:
                _check_kind(document, reader.display(path), found.named, report)
        if not good and not found.named and all(document is not None for _, document in documents):
            _report_none(reader.display(reader.cwd / given), found, report)
        for path, document in good.items():
            sims.setdefault(path, document)
    return list(sims.values())


def find_one(given: Path, reader: Reader, report: Report) -> list[Document]:
    """The document of one file that describes a network: a sim's or a topology's; none when it is wrong."""
    found = _find(str(given), reader.cwd, report)
    if found is None:
        return []
    if not found.named:
        report.file_error(str(given), "this does not name a file", "one sim or topology file")
        return []
    document = reader.read(found.files[0])
    if document is None:
        return []
    if not is_sim(document) and not document.table.keys() & {"router", "device"}:
        report.file_error(document.file, "there is no network in this file", "a sim, or [[router]] and [device.*]")
        return []
    return [document]


def is_sim(document: Document) -> bool:
    """Whether a document is a sim; what is not is a library of definitions or a topology."""
    return "sim" in document.table or "step" in document.table


def _find(given: str, cwd: Path, report: Report) -> _Found | None:
    path = cwd / given
    try:
        if path.is_dir():
            return _Found(tuple(_toml_files(path, report)), named=False)
        if path.exists():
            return _Found((path,), named=True)
        if glob.has_magic(given):
            return _Found(tuple(_matches(str(path), report)), named=False)
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError as error:
        report.file_error(given, f"cannot be read: {error.strerror}")
        return None
    report.file_error(given, f"there is no such file or directory{did_you_mean(path.name, names)}")
    return None


def _toml_files(directory: Path, report: Report) -> Iterator[Path]:
    """All TOML files below `directory`, sorted; hidden directories hold run records and virtual environments."""

    def tell(error: OSError) -> None:
        report.file_error(str(error.filename), f"cannot be read: {error.strerror}")

    found = []
    for parent, directories, files in os.walk(directory, onerror=tell):
        directories[:] = [name for name in directories if not name.startswith(".")]
        found += [Path(parent, name) for name in files if name.endswith(".toml") and not name.startswith(".")]
    yield from sorted(found)


def _matches(pattern: str, report: Report) -> Iterator[Path]:
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207  absolute patterns need the glob module
        path = Path(match)
        if path.is_dir():
            yield from _toml_files(path, report)
        elif path.suffix == ".toml":
            yield path


def _check_kind(document: Document, file: str, named: bool, report: Report) -> None:
    if not document.table:
        report.file_error(file, "the file is empty", "a sim with [sim] and [[step]]")
    elif named and not is_sim(document):
        report.file_error(file, "this is a library or a topology: it has neither [sim] nor [[step]]", "a sim file")


def _report_none(given: str, found: _Found, report: Report) -> None:
    if not found.files:
        report.file_error(given, "there is no TOML file here", "at least one sim")
    elif len(found.files) == 1:
        report.file_error(given, f"the only TOML file, {quote(found.files[0].name)}, has neither [sim] nor [[step]]")
    else:
        report.file_error(given, f"none of the {len(found.files)} TOML files here has [sim] or [[step]]")
