"""`patchbay fmt-log`: JSON log lines for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from patchbay_runner.cli.logfiles import LineSplitter, chunks_of, followed_chunks
from patchbay_runner.cli.logtext import LogFormatter
from patchbay_runner.cli.main import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED
from patchbay_runner.parsers.logrecords import Level, parse_log_line


@click.command(name="fmt-log")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False, readable=True), required=False)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Goes on as FILE grows, until Ctrl-C; one that is truncated or replaced is read anew.",
)
@click.option(
    "--level",
    "least",
    type=click.Choice([level.name.lower() for level in Level], case_sensitive=False),
    help="Leaves out JSON lines of lower levels; lines without a level stay.",
)
@click.option("--color/--no-color", "wants_colours", default=None, help="Colours or none, whatever standard output is.")
def fmt_log(*, file: Path | None, follow: bool, least: str | None, wants_colours: bool | None) -> int:
    """Shows the JSON log lines of FILE, or of standard input, as people read them; other lines stay as they are."""
    if follow and file is None:
        raise click.UsageError("--follow needs a FILE: standard input is read to its end anyway")
    if file is None and sys.stdin.isatty():
        raise click.UsageError("there is no FILE, and standard input is a terminal")
    level = Level[least.upper()] if least else None
    printer = _Printer(LogFormatter(has_colours=_has_colours(wants_colours)), level)
    try:
        printer.print_all(_chunks(file, follow=follow))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader has seen enough
        return EXIT_BROKEN_PIPE
    return 0


def _chunks(file: Path | None, *, follow: bool) -> Iterator[bytes | None]:
    if file is None:
        yield from chunks_of(sys.stdin.buffer)  # type: ignore[arg-type]  # a BufferedReader, which typeshed does not say
    elif follow and file.is_file():
        yield from followed_chunks(file)
    else:
        with file.open("rb") as stream:
            yield from chunks_of(stream)


class _Printer:
    def __init__(self, formatter: LogFormatter, least: Level | None) -> None:
        self._formatter = formatter
        self._least = least
        self._lines = LineSplitter()
        self._output = sys.stdout.buffer

    def print_all(self, chunks: Iterator[bytes | None]) -> None:
        """Prints chunk by chunk, so that a reader sees each line when it is there. None begins a new file."""
        for chunk in chunks:
            self._print(self._lines.finish() if chunk is None else self._lines.feed(chunk))
            self._output.flush()
        self._print(self._lines.finish())
        self._output.flush()

    def _print(self, lines: Iterator[tuple[bytes, bool]]) -> None:
        for line, is_whole in lines:
            record = parse_log_line(line) if is_whole else None
            if record is None:
                self._output.write(line)
            elif self._least is None or record.level is None or record.level >= self._least:
                self._output.write(f"{self._formatter.render(record)}\n".encode("utf-8", "replace"))


def _has_colours(wanted: bool | None) -> bool:
    """As asked, else as NO_COLOR and FORCE_COLOR say, else where a terminal shows them."""
    if wanted is not None:
        return wanted
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")
