"""What signals are called."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """ "SIGTERM"; a real-time signal without a name is "SIGRTMIN+3"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"signal {number}"
