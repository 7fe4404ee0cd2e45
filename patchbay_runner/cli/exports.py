"""What a run leaves for a CI service when it is over: JUnit XML, annotations, and a summary of the step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import click

from patchbay_runner.errors import Diagnostic, HostError
from patchbay_runner.results.files import Owner, append, make_directories, open_append, write_atomically

if TYPE_CHECKING:
    from patchbay_runner.results.github import Place

_Command = TypeVar("_Command", bound=Callable[..., Any])


def junit_option(command: _Command) -> _Command:
    """Adds the option `junit`."""
    return click.option(
        "--junit",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Writes the results as JUnit XML, which CI services read, when all is over.",
    )(command)


class Exports:
    """Writes what was asked for when the block ends, however it ends, once `run` says where the record is."""

    def __init__(self, junit: Path | None, environment: Mapping[str, str], owner: Owner | None) -> None:
        self.run: Path | None = None
        self._junit = junit
        self._environment = environment
        self._owner = owner

    def __enter__(self) -> Self:
        """Raises HostError when the JUnit file cannot be written: better now than after an hour of sims."""
        if self._junit:
            prepare_export(self._junit, self._owner)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        wishes = (self._junit, is_github(self._environment), self._environment.get("GITHUB_STEP_SUMMARY"))
        if self.run and any(wishes):
            self._write(self.run)

    def _write(self, directory: Path) -> None:
        """Everything here is imported when it is used: most runs want none of it."""
        from patchbay_runner.results.github import sim_annotations  # noqa: PLC0415
        from patchbay_runner.results.junit import junit_xml  # noqa: PLC0415
        from patchbay_runner.results.record import read_run  # noqa: PLC0415

        run = read_run(directory)
        if is_github(self._environment):
            _print(sim_annotations(run.sims, _place(self._environment)))
        if file := self._environment.get("GITHUB_STEP_SUMMARY"):
            from patchbay_runner.results.step_summary import step_summary  # noqa: PLC0415

            _append_summary(Path(file), step_summary(run))
        if self._junit:
            write_atomically(self._junit, junit_xml(run), self._owner)


def is_github(environment: Mapping[str, str]) -> bool:
    """Whether this is a step of GitHub Actions, or of something that does as they do."""
    return environment.get("GITHUB_ACTIONS") == "true"


def annotate(diagnostics: Sequence[Diagnostic], environment: Mapping[str, str]) -> None:
    """In a step of GitHub Actions, puts the problems of files on their lines."""
    from patchbay_runner.results.github import diagnostic_annotations  # noqa: PLC0415 - seldom needed

    if is_github(environment):
        _print(diagnostic_annotations(diagnostics, _place(environment)))


def _place(environment: Mapping[str, str]) -> Place:
    from patchbay_runner.results.github import Place  # noqa: PLC0415

    return Place(environment.get("GITHUB_WORKSPACE"), Path.cwd())


def _print(lines: Sequence[str]) -> None:
    """To standard error, which GitHub reads as it does standard output: that one may carry JSON."""
    with suppress(OSError):  # nobody reads any more
        for line in lines:
            click.echo(line, err=True)


def _append_summary(file: Path, text: str) -> None:
    """The file belongs to the CI service. That it cannot be written is said, and changes no verdict."""
    try:
        descriptor = open_append(file)
        try:
            append(descriptor, text.encode(errors="replace") + b"\n", file)
        finally:
            os.close(descriptor)
    except HostError as error:
        click.echo(f"warning: {error.problem}, so the step has no summary", err=True)


def prepare_export(file: Path, owner: Owner | None) -> None:
    """Sees that `file` can be written, and takes an older one away: it would pass for this run's."""
    make_directories(file.parent, owner)
    try:
        if file.exists() and not file.is_file():
            raise click.BadParameter(f"{file} is no regular file", param_hint="--junit")
        file.touch()
        file.unlink()
    except OSError as error:
        raise HostError(f"cannot write {file}: {error.strerror}") from error
