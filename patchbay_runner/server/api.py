"""The operations of the API: what each takes, and what it answers. docs/reference/http-api.md describes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import msgspec

from patchbay_runner import __version__
from patchbay_runner.results.documents import CombinedResults, CombinedSim, SimResults
from patchbay_runner.server import shapes
from patchbay_runner.server.files import list_files
from patchbay_runner.server.hub import Hub
from patchbay_runner.server.jsonlines import line_start, opid_of, place_behind, read_piece, whole_end
from patchbay_runner.server.loglist import list_logs
from patchbay_runner.server.logs import LogReader
from patchbay_runner.server.places import SimPlace, find_sim, read_run_detail
from patchbay_runner.server.queries import LinesQuery, RunsQuery, SearchQuery, WindowQuery
from patchbay_runner.server.refusals import Refusal, not_found
from patchbay_runner.server.rooted import Parts, file_at, read_document
from patchbay_runner.server.runs import EVENTS_NAME, Found
from patchbay_runner.server.simfeed import METRICS_NAME
from patchbay_runner.server.steps import Steps

_MOST_LINES_BYTES = 4 << 20

_AnyType = TypeVar("_AnyType")


class Document(NamedTuple):
    """A document as its file has it."""

    body: bytes


class ToSend(NamedTuple):
    """A file to send; the descriptor goes to whoever sends it."""

    descriptor: int
    name: str


class Api:
    """The answers. Each may take its time: they are for threads."""

    def __init__(self, hub: Hub, *, title: str, is_accepting_pushes: bool) -> None:
        self._hub = hub
        self._catalog = hub.catalog
        self._info = shapes.Info(version=__version__, title=title, is_accepting_pushes=is_accepting_pushes)

    def info(self) -> shapes.Info:
        """This server."""
        return self._info

    def health(self) -> shapes.Health:
        """That it answers."""
        return shapes.Health()

    def runs(self, query: RunsQuery) -> shapes.RunPage:
        """A page of the list."""
        everything = self._hub.list.newest_first()
        fitting = [found for found in everything if _fits(found.run, query)]
        begin = _place(fitting, query.cursor)
        page = fitting[begin : begin + query.limit]
        more = begin + query.limit < len(fitting)
        return shapes.RunPage(
            runs=tuple(found.run for found in page),
            next="|".join(page[-1].sort_key) if more else None,
            total=len(fitting),
            facets=shapes.Facets(
                project=_values(found.run.project for found in everything),
                branch=_values(found.run.branch for found in everything),
                status=_values(found.run.status for found in everything),
            ),
        )

    def run(self, run: str) -> shapes.RunDetail:
        """A run with its sims."""
        found, head, sims = read_run_detail(self._catalog, run)
        if (known := self._catalog.found.get(run)) is None or known.run != found.run:
            self._hub.refresh(found.parts)
        return shapes.RunDetail(**_fields(head), simulations=sims)

    def run_results(self, run: str) -> CombinedResults | Document:
        """What was measured in all sims."""
        found, head, sims = read_run_detail(self._catalog, run)
        if head.status != "running" and not found.is_record:
            with self._catalog.root.directory(found.parts) as directory:
                document = read_document(directory, "combined-results.json")
            if document is not None:
                return _document(document)
        return CombinedResults(runs=tuple(self._combined(found, sims)))

    def invocation(self, invocation: str) -> shapes.Invocation:
        """The runs that came together."""
        found = [each.run for each in self._catalog.found.values() if each.run.invocation == invocation]
        if not found:
            raise not_found(f"invocation {invocation[:200]}")
        return shapes.Invocation(invocation=invocation, runs=tuple(sorted(found, key=lambda run: run.name)))

    def invocation_results(self, invocation: str) -> CombinedResults:
        """What was measured in all of them."""
        combined: list[CombinedSim] = []
        for run in self.invocation(invocation).runs:
            found, _, sims = read_run_detail(self._catalog, run.name)
            combined += self._combined(found, sims)
        return CombinedResults(runs=tuple(combined))

    def sim(self, run: str, sim: str) -> shapes.SimDetail:
        """A sim and its steps."""
        place = find_sim(self._catalog, run, sim)
        with self._sim_directory(place) as directory:
            if directory is None:
                return shapes.SimDetail(run=run, name=sim, sim=None, steps=())
            document = read_document(directory, "sim.json")
            steps = Steps(read_document(directory, "plan.json"))
            with file_at(directory, EVENTS_NAME) as events:
                if events is not None:
                    steps.read(events)
        lines = steps.listed(place.line.status)
        return shapes.SimDetail(run=run, name=sim, sim=_decoded(document, dict[str, Any]), steps=lines)

    def document(self, run: str, sim: str, name: str) -> Document:
        """A document of a sim, as it is."""
        with self._sim_directory(find_sim(self._catalog, run, sim)) as directory:
            document = None if directory is None else read_document(directory, name)
        if document is None:
            raise not_found(f"{name} of {sim[:200]}")
        return _document(document)

    def events(self, run: str, sim: str, query: LinesQuery) -> shapes.Lines:
        """Events by number."""
        with self._sim_file(run, sim, EVENTS_NAME) as descriptor:
            if descriptor is None:
                return shapes.Lines(items=(), next=query.after, is_end=True)
            start = 0 if query.after is None else place_behind(descriptor, query.after)
            piece = read_piece(descriptor, start, _MOST_LINES_BYTES, query.limit)
            is_end = piece.end >= whole_end(descriptor)
        return shapes.Lines(
            items=tuple(map(msgspec.Raw, piece.lines)),  # type: ignore[arg-type]  # encoded as it is
            next=opid_of(piece.lines[-1]) if piece.lines else query.after,
            is_end=is_end,
        )

    def metrics(self, run: str, sim: str, query: LinesQuery) -> shapes.Lines:
        """Metrics by place."""
        with self._sim_file(run, sim, METRICS_NAME) as descriptor:
            if descriptor is None:
                return shapes.Lines(items=(), next=query.after, is_end=True)
            start = line_start(descriptor, max(query.after or 0, 0))
            piece = read_piece(descriptor, start, _MOST_LINES_BYTES, query.limit)
            is_end = piece.end >= whole_end(descriptor)
        items = tuple(map(msgspec.Raw, piece.lines))
        return shapes.Lines(items=items, next=piece.end or query.after, is_end=is_end)  # type: ignore[arg-type]

    def logs(self, run: str, sim: str) -> shapes.Logs:
        """The logs of a sim."""
        with self._sim_directory(find_sim(self._catalog, run, sim)) as directory:
            return shapes.Logs(logs=() if directory is None else list_logs(directory))

    def log(self, run: str, sim: str, path: Parts, query: WindowQuery) -> shapes.Window:
        """Some lines of a log."""
        asked = {
            name: value for name in ("after", "at", "before", "line") if (value := getattr(query, name)) is not None
        }
        if len(asked) > 1:
            raise Refusal(400, f"{' and '.join(asked)} exclude each other")
        before = _before(query.before)
        with self._log_reader(run, sim, path) as reader:
            if query.before is not None:
                return reader.before(before, query.limit)
            if query.line is not None:
                return reader.line(query.line, query.limit)
            return (
                reader.at(query.at, query.limit)
                if query.at is not None
                else reader.after(query.after or 0, query.limit)
            )

    def search(self, run: str, sim: str, path: Parts, query: SearchQuery) -> shapes.Matches:
        """Lines of a log with a text."""
        with self._log_reader(run, sim, path) as reader:
            return reader.search(query.q, query.after, query.limit, is_case_kept=query.case)

    def files(self, run: str, sim: str | None) -> shapes.Files:
        """The files of a run, or of one of its sims."""
        with self._directory(self._parts(run, sim), is_sim=sim is not None) as directory:
            return shapes.Files(files=(), is_cut=False) if directory is None else list_files(directory)

    def file(self, run: str, sim: str | None, path: Parts) -> ToSend:
        """A file of a run, or of one of its sims."""
        return ToSend(self._catalog.root.open_file((*self._parts(run, sim), *path)), path[-1])

    def _parts(self, run: str, sim: str | None) -> Parts:
        return self._catalog.get(run).parts if sim is None else find_sim(self._catalog, run, sim).parts

    def _sim_directory(self, place: SimPlace) -> Any:
        return self._directory(place.parts, is_sim=True)

    @contextmanager
    def _directory(self, parts: Parts, *, is_sim: bool) -> Iterator[int | None]:
        """An open directory; None of a sim that has not begun."""
        try:
            descriptor = self._catalog.root.open_directory(parts)
        except Refusal as refusal:
            if refusal.status != 404 or not is_sim:
                raise
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _sim_file(self, run: str, sim: str, name: str) -> Iterator[int | None]:
        with self._sim_directory(find_sim(self._catalog, run, sim)) as directory:
            if directory is None:
                yield None
                return
            with file_at(directory, name) as descriptor:
                yield descriptor

    @contextmanager
    def _log_reader(self, run: str, sim: str, path: Parts) -> Iterator[LogReader]:
        place = find_sim(self._catalog, run, sim)
        descriptor = self._catalog.root.open_file((*place.parts, *path))
        try:
            yield LogReader(descriptor, self._hub.indexes, is_over=not place.is_running)
        finally:
            os.close(descriptor)

    def _combined(self, found: Found, sims: Iterable[shapes.SimLine]) -> Iterator[CombinedSim]:
        for sim in sims:
            parts = found.parts if found.is_record else (*found.parts, sim.name)
            with self._directory(parts, is_sim=True) as directory:
                document = None if directory is None else read_document(directory, "results.json")
            results = _decoded(document, SimResults)
            if results is not None:
                yield CombinedSim(
                    run=found.run.name,
                    sim_dir=sim.name,
                    sim=sim.sim,
                    attempt=sim.attempt,
                    status=results.status,
                    matrix=sim.matrix,
                    steps=results.steps,
                )


def _fields(head: shapes.RunHead) -> dict[str, Any]:
    return {name: getattr(head, name) for name in head.__struct_fields__}


def _fits(run: shapes.Run, query: RunsQuery) -> bool:
    for name in ("project", "branch", "status", "invocation"):
        wanted = getattr(query, name)
        if wanted and getattr(run, name) not in wanted:
            return False
    if query.commit and not any((run.commit or "").startswith(commit.lower()) for commit in query.commit):
        return False
    text = query.text.casefold()
    searched = (run.name, run.label, run.title, run.project, run.branch)
    return not text or any(text in each.casefold() for each in searched if each)


def _place(fitting: list[Found], cursor: str | None) -> int:
    """How many come before those of the next page, also when some have come or gone in between."""
    if cursor is None:
        return 0
    started_at, bar, name = cursor.partition("|")
    if not bar:
        raise Refusal(400, "cursor is not one that was given")
    return sum(found.sort_key >= (started_at, name) for found in fitting)


def _values(values: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _before(text: str | None) -> int | None:
    if text is None or text == "end":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        raise Refusal(400, 'before is neither "end" nor a place')
    return int(text)


def _document(document: bytes) -> Document:
    if _decoded(document, dict[str, msgspec.Raw]) is None:
        raise Refusal(500, "the document is no JSON")
    return Document(document)


def _decoded(document: bytes | None, kind: type[_AnyType]) -> _AnyType | None:
    try:
        return msgspec.json.decode(document, type=kind) if document else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
