"""The terminal of one run. A reader that goes away ends the showing, not the sims."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

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
        # Colours may be forced where nothing can be redrawn, as CI services do: ask the stream, not the console.
        can_redraw = sys.stdout.isatty() and not self._console.is_dumb_terminal and not os.environ.get("CI")
        self.view = open_view(self._console, sims, is_verbose=is_verbose, can_redraw=can_redraw)

    def close(self) -> None:
        """Ends the view."""
        self.view.close()

    def show_summary(self, run: Path, runtime_s: float) -> None:
        """Prints how everything went."""
        print_summary(self._console, self._sims, run, runtime_s)


class ForgivingOutput(io.TextIOBase):
    """Standard output whose reader may go away, as `head` does or a terminal that is closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute in the base class
        """That of the stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's descriptor."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Writes, as long as somebody reads."""
        with self._until_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Passes on what is buffered."""
        with self._until_gone():
            self._stream.flush()

    @contextmanager
    def _until_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._stream = open(os.devnull, "w", encoding=self._stream.encoding)  # noqa: PTH123, SIM115


def open_console() -> Console:
    """Standard output, coloured when it is a terminal and NO_COLOR is not set."""
    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    output = cast("TextIO", ForgivingOutput(sys.stdout))
    return Console(file=output, width=width, highlight=False, markup=False, emoji=False)
