"""The terminal of one run. A reader that goes away ends the showing, not the sims."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from patchbay_runner.cli.progress import open_view
from patchbay_runner.cli.summary import print_summary
from patchbay_runner.results.sim import SimRecord

# Text that goes to a file or a pipe is not cut to the width of a screen that is not there.
_WIDTH_WITHOUT_TERMINAL = 1000


class Terminal:
    """A view while sims run, and the summary behind it."""

    def __init__(self, sims: Sequence[SimRecord], *, is_verbose: bool) -> None:
        self._sims = sims
        self._console = open_console()
        self.view = open_view(self._console, sims, is_verbose=is_verbose)

    def close(self) -> None:
        """Ends the view."""
        self.view.close()

    def show_summary(self, run: Path, runtime_s: float) -> None:
        """Prints how everything went."""
        print_summary(self._console, self._sims, run, runtime_s)


def open_console() -> Console:
    """Standard output, coloured when it is a terminal and NO_COLOR is not set."""
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
