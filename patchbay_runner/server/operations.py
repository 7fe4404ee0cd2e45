"""The table of the API: every path with its parameters, its answer and the shape of its reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from patchbay_runner.results.documents import CombinedResults, SimResults
from patchbay_runner.server import queries, shapes
from patchbay_runner.server.api import Api
from patchbay_runner.server.refusals import Refusal
from patchbay_runner.server.rooted import Parts, is_served_name
from patchbay_runner.server.runs import STATE_NAME

_RUN = "/api/runs/{run}"
_SIM = "/api/runs/{run}/sims/{sim}"


class Call(NamedTuple):
    """One request: the names in its path, decoded, and its parameters."""

    names: dict[str, str]
    query: Any

    @property
    def run(self) -> str:
        return self.names["run"]

    @property
    def sim(self) -> str:
        return self.names["sim"]

    @property
    def path(self) -> Parts:
        """The components of `{path}`. Raises Refusal when one of them is none."""
        parts = tuple(self.names["path"].split("/"))
        if any(part in (".", "..") for part in parts):
            raise Refusal(403, "the path leads out of the directory that is served")
        if not all(map(is_served_name, parts)):
            raise Refusal(404, "there is no such file")
        return parts


class Operation(NamedTuple):
    """`reply` is a record, or a media type of bytes."""

    path: str
    summary: str
    answer: Callable[[Api, Call], Any]
    reply: Any
    query: Any = queries.Query


OPERATIONS = (
    Operation("/healthz", "That the server answers", lambda api, _call: api.health(), shapes.Health),
    Operation("/api/info", "The server", lambda api, _call: api.info(), shapes.Info),
    Operation("/api/runs", "The runs", lambda api, call: api.runs(call.query), shapes.RunPage, queries.RunsQuery),
    Operation(_RUN, "A run with its sims", lambda api, call: api.run(call.run), shapes.RunDetail),
    Operation(f"{_RUN}/results", "Results of a run", lambda api, call: api.run_results(call.run), CombinedResults),
    Operation(f"{_RUN}/files", "Files of a run", lambda api, call: api.files(call.run, None), shapes.Files),
    Operation(
        f"{_RUN}/files/{{path}}",
        "A file of a run",
        lambda api, call: api.file(call.run, None, call.path),
        "application/octet-stream",
        queries.FileQuery,
    ),
    Operation(_SIM, "A sim with its steps", lambda api, call: api.sim(call.run, call.sim), shapes.SimDetail),
    Operation(
        f"{_SIM}/state",
        "The network of a sim",
        lambda api, call: api.document(call.run, call.sim, STATE_NAME),
        shapes.Json,
    ),
    Operation(
        f"{_SIM}/results",
        "Results and captures of a sim",
        lambda api, call: api.document(call.run, call.sim, "results.json"),
        SimResults,
    ),
    Operation(
        f"{_SIM}/events",
        "What happened in a sim",
        lambda api, call: api.events(call.run, call.sim, call.query),
        shapes.Lines,
        queries.LinesQuery,
    ),
    Operation(
        f"{_SIM}/metrics",
        "What the links of a sim did",
        lambda api, call: api.metrics(call.run, call.sim, call.query),
        shapes.Lines,
        queries.LinesQuery,
    ),
    Operation(f"{_SIM}/logs", "The logs of a sim", lambda api, call: api.logs(call.run, call.sim), shapes.Logs),
    Operation(
        f"{_SIM}/logs/{{path}}/search",
        "Lines of a log with a text",
        lambda api, call: api.search(call.run, call.sim, call.path, call.query),
        shapes.Matches,
        queries.SearchQuery,
    ),
    Operation(
        f"{_SIM}/logs/{{path}}",
        "Some lines of a log",
        lambda api, call: api.log(call.run, call.sim, call.path, call.query),
        shapes.Window,
        queries.WindowQuery,
    ),
    Operation(f"{_SIM}/files", "Files of a sim", lambda api, call: api.files(call.run, call.sim), shapes.Files),
    Operation(
        f"{_SIM}/files/{{path}}",
        "A file of a sim",
        lambda api, call: api.file(call.run, call.sim, call.path),
        "application/octet-stream",
        queries.FileQuery,
    ),
    Operation(
        "/api/invocations/{invocation}",
        "The runs that came together",
        lambda api, call: api.invocation(call.names["invocation"]),
        shapes.Invocation,
    ),
    Operation(
        "/api/invocations/{invocation}/results",
        "Results of the runs that came together",
        lambda api, call: api.invocation_results(call.names["invocation"]),
        CombinedResults,
    ),
)
