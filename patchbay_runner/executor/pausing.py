"""The pause of a sim that has failed, for people to look at what is there."""

from __future__ import annotations

import asyncio

from patchbay_runner.executor.on_failure import accept_cancellation
from patchbay_runner.executor.session import Session
from patchbay_runner.model.recording import Failure


async def pause(session: Session, failure: Failure) -> None:
    """Waits where the options ask for it, unless the user wants the end. A cancellation ends it."""
    if session.options.pause is None or failure.phase == "interrupted":
        return
    place = {name: getattr(failure, name) for name in ("step", "action", "id", "device", "origin")}
    session.recorder.emit("sim_paused", phase=failure.phase, message=failure.message, **place)
    try:
        await session.options.pause()
    except asyncio.CancelledError:
        accept_cancellation()
    session.recorder.emit("sim_resumed")
