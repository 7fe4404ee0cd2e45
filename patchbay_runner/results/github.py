"""A run as GitHub Actions shows it on the lines of its files: annotations, written as workflow commands."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchbay_runner.errors import Diagnostic
from patchbay_runner.results.documents import Status
from patchbay_runner.results.record import RecordedSim

_ENDINGS = {
    Status.ERROR: ("error", "failed"),
    Status.OVERLOADED: ("warning", "is overloaded"),
    Status.INTERRUPTED: ("warning", "was interrupted"),
}


class Place:
    """Where annotations point: files as they are called from `workspace`, the checkout that GitHub knows."""

    def __init__(self, workspace: str | None, cwd: Path) -> None:
        self._workspace = workspace
        self._cwd = cwd

    def of(self, file: str) -> str:
        """`file` relative to the workspace; as it is when it lies elsewhere or there is no workspace."""
        if not self._workspace:
            return file
        relative = os.path.relpath(self._cwd / file, self._workspace)
        return file if relative.startswith("..") else relative


def sim_annotations(sims: Iterable[RecordedSim], place: Place) -> list[str]:
    """A workflow command for each sim that did not pass, on the step at fault; else on the first line of its file."""
    return [line for sim in sims if (line := _sim_annotation(sim, place))]


def diagnostic_annotations(diagnostics: Sequence[Diagnostic], place: Place) -> list[str]:
    """A workflow command for each problem of a file."""
    lines = []
    for found in diagnostics:
        key = f"{found.key}: " if found.key else ""
        expected = f"; expected {found.expected}" if found.expected else ""
        lines.append(_command("error", place.of(found.file), found.line, "", f"{key}{found.message}{expected}"))
    return lines


def _sim_annotation(sim: RecordedSim, place: Place) -> str | None:
    if sim.summary.status not in _ENDINGS:
        return None
    level, verb = _ENDINGS[sim.summary.status]
    file, line = sim.summary.source, 0
    error = sim.document.error if sim.document else None
    message = error.message if error else sim.summary.status.value
    if error and error.output:
        message = "\n".join([message, *error.output])
    if error and error.step:
        what = " ".join(filter(None, (error.step.action, error.step.id)))
        message = f"step {error.step.index + 1}, {what}: {message}"
        if error.step.origin:
            file, line = split_origin(error.step.origin)
    return _command(level, place.of(file), line, f"{sim.summary.title} {verb}", message)


def split_origin(origin: str) -> tuple[str, int]:
    """`file:line`, as records have it, in its parts; line 0 when there is none."""
    file, colon, line = origin.rpartition(":")
    return (file, int(line)) if colon and line.isdecimal() else (origin, 0)


def _command(level: str, file: str, line: int, title: str, message: str) -> str:
    """A workflow command. Without a line, GitHub puts the annotation on the first."""
    properties = {"file": file, "line": str(line or 1), "title": title}
    written = ",".join(f"{name}={_escape_property(value)}" for name, value in properties.items() if value)
    return f"::{level} {written}::{_escape_data(message)}"


def _escape_data(text: str) -> str:
    """As @actions/core does it: a command is one line, and `%` begins an escape."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
