"""How reports call a step that failed."""

from __future__ import annotations

from patchbay_runner.results.documents import FailedStep, SimError


def step_title(step: FailedStep) -> str:
    """ "run fetcher on client"."""
    on = f"on {step.device}" if step.device and step.device != step.id else ""
    return " ".join(filter(None, (step.action, step.id, on)))


def note_line(note: SimError) -> str:
    """A step of `on_failure` that failed, in a line: no verdict, but it may be why something is missing."""
    assert note.step is not None
    at = f" ({note.step.origin})" if note.step.origin else ""
    reason = note.message.partition("\n")[0]
    return f"step {note.step.index + 1} of on_failure: {step_title(note.step)} failed: {reason}{at}"
