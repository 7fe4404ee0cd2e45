"""Where the caller's code is: the place that messages about what it asked for name."""

from __future__ import annotations

import sys
from pathlib import Path

from patchbay_runner.model.topology import Origin

_PACKAGE = str(Path(__file__).parent.parent) + "/"


def callers_line() -> Origin:
    """The innermost line that is not this package's."""
    frame = sys._getframe(1)  # the documented way is as slow as a traceback
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno)
