"""How steps, verdicts and failures are called in a terminal."""

from __future__ import annotations

from typing import Any

from patchbay_runner.model.recording import Failure
from patchbay_runner.results.documents import Status


def verdict_text(status: Status) -> tuple[str, str]:
    """A word and its style."""
    return {
        Status.OK: ("passed", "green"),
        Status.ERROR: ("failed", "red"),
        Status.OVERLOADED: ("overloaded", "yellow"),
        Status.INTERRUPTED: ("interrupted", "yellow"),
        Status.RUNNING: ("running", ""),
        Status.PENDING: ("not run", "dim"),
    }[status]


def action_text(fields: dict[str, Any]) -> str:
    """ "run fetcher on client" from the fields of a step's event."""
    action, step_id, device = (str(fields.get(key) or "") for key in ("action", "id", "device"))
    text = f"{action} {step_id}" if step_id else action
    return f"{text} on {device}" if device and device != step_id else text


def step_text(fields: dict[str, Any], total: int) -> str:
    """ "step 3/9: run fetcher on client"."""
    if fields.get("on_failure"):
        return f"step {int(fields.get('step', 0)) + 1} of on_failure: {action_text(fields)}"
    return f"step {int(fields.get('step', 0)) + 1}/{total}: {action_text(fields)}"


def failure_place(failure: Failure, total: int) -> str:
    """Where a sim failed: "in step 3/9: run fetcher on client"."""
    if failure.step is not None:
        fields = {"step": failure.step, "action": failure.action, "id": failure.id, "device": failure.device}
        return f"in {step_text(fields, total)}"
    if failure.phase == "internal" and not failure.traceback:
        return "because its sandbox did not survive"
    return {
        "lab": "while its network was built",
        "host": "because this host cannot run it",
        "internal": "by a defect of patchbay",
        "timeout": "because it took too long",
        "overloaded": "because this host was too busy",
        "worker": "because no worker survived it",
    }.get(failure.phase, "")
