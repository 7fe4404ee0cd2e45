"""Downloads and builds on a terminal: a bar for each download, a spinner with the last line for each build."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from patchbay_runner.cli.text import megabytes, printable


class Bars:
    """Draws only while something runs; what is done stays as a line. A thread works on one thing at a time."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._lock = threading.Lock()
        self._rows: dict[int, TaskID] = {}
        self._drawn = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", style="bold", markup=False),
            _Bar(bar_width=20),
            _Amount(),
            TextColumn(
                "{task.fields[text]}", style="dim", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
            ),
            console=self._console,
            transient=True,
        )
        self._is_drawing = False

    def started(self, task: str, text: str, total: int | None, done: int) -> None:
        """Shows a row."""
        with self._lock:
            if not self._is_drawing:
                self._drawn.start()
                self._is_drawing = True
            row = self._drawn.add_task(printable(task), total=total, completed=done, text=printable(text))
            self._rows[threading.get_ident()] = row

    def advanced(self, task: str, done: int) -> None:
        """Moves the bar."""
        self._drawn.update(self._rows[threading.get_ident()], completed=done)

    def said(self, task: str, line: str) -> None:
        """Shows the line beside the spinner."""
        row = self._rows.get(threading.get_ident())
        if row is not None:
            self._drawn.update(row, text=printable(line))

    def ended(self, task: str, text: str) -> None:
        """Replaces the row by a line."""
        with self._lock:
            self._drawn.remove_task(self._rows.pop(threading.get_ident()))
            if text:
                self._console.print(f"{printable(task)}: {printable(text)}", style="dim")

    def note(self, text: str) -> None:
        """Prints it as a warning."""
        with self._lock:
            self._console.print(f"warning: {printable(text)}", style="yellow")

    def close(self) -> None:
        """Takes the rows away."""
        self._drawn.stop()


class _Bar(BarColumn):
    """Only where something is counted."""

    def render(self, task: Task) -> Text:  # type: ignore[override]  # a bar or nothing
        """The bar."""
        return super().render(task) if task.completed or task.total else Text("")  # type: ignore[return-value]


class _Amount(ProgressColumn):
    """How much of a download is there, and how fast the rest comes."""

    def render(self, task: Task) -> Text:
        """ "3.1/12.0 MB 4.2 MB/s"."""
        if not task.completed and not task.total:
            return Text("")
        whole = f"/{megabytes(int(task.total))}" if task.total else ""
        speed = f" {megabytes(int(task.speed))}/s" if task.speed else ""
        return Text(f"{megabytes(int(task.completed))}{whole}{speed}")
