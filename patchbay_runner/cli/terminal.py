"""The terminal of one run. A reader that goes away ends the showing, not the sims."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from rich.console import Console

from patchbay_runner.cli.progress import open_view
from patchbay_runner.cli.streams import ForgivingOutput
from patchbay_runner.cli.summary import print_summary
from patchbay_runner.results.sim import SimRecord

if TYPE_CHECKING:
    from patchbay_runner.cli.jsonlines import JsonLines

# Text that goes to a file or a pipe is not cut to the width of a screen that is not there.
_WIDTH_WITHOUT_TERMINAL = 1000


class Terminal:
    """A view while sims run, and the summary behind it."""

    def __init__(self, sims: Sequence[SimRecord], *, is_verbose: bool, json_lines: JsonLines | None = None) -> None:
        self._sims = sims
        # Standard output belongs to machines when they read it.
        stream = sys.stderr if json_lines else sys.stdout
        self._console = open_console(stream)
        # Colours may be forced where nothing can be redrawn, as CI services do: ask the stream, not the console.
        can_redraw = stream.isatty() and not self._console.is_dumb_terminal and not os.environ.get("CI")
        view = open_view(self._console, sims, is_verbose=is_verbose, can_redraw=can_redraw)
        self.view = json_lines.view(view) if json_lines else view

    def close(self) -> None:
        """Ends the view."""
        self.view.close()

    def show_summary(self, run: Path, runtime_s: float) -> None:
        """Prints how everything went."""
        print_summary(self._console, self._sims, run, runtime_s)


def open_console(stream: TextIO | None = None) -> Console:
    """Standard output, or another stream; coloured when it is a terminal and NO_COLOR is not set."""
    stream = stream or sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    output = cast("TextIO", ForgivingOutput(stream))
    return Console(file=output, width=width, highlight=False, markup=False, emoji=False)
